"""Two CPU ranks over gloo: the bank and the class frequencies are equal on both."""

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import start_processes

from fewmask.models.bank import ClassBank
from fewmask.models.frequency import ClassFrequency

States = list[dict[str, Any]]
NUM_RANKS, CLASSES, SLOTS, DIM, ROWS, PER_CLASS = 2, 3, 6, 4, 20, 2


def rows_of(rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, classes, scores and images of one rank."""
    draw = torch.Generator().manual_seed(rank)
    features = torch.randn(ROWS, DIM, generator=draw)
    classes = torch.randint(0, CLASSES, (ROWS,), generator=draw)
    return features, classes, torch.rand(ROWS, generator=draw), torch.randint(0, 2, (ROWS,), generator=draw)


def labels_of(rank: int) -> torch.Tensor:
    return torch.full((1, 2, 2), rank)


def run_rank(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=NUM_RANKS)
    bank, frequency = ClassBank(CLASSES, SLOTS, DIM), ClassFrequency(CLASSES, 4, 4)
    features, classes, scores, images = rows_of(rank)
    bank.push(features, classes, scores, PER_CLASS, images, num_sources=2)
    frequency.observe(labels_of(rank))
    torch.save({"bank": bank.state_dict(), "labeled": frequency.labeled}, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> States:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(run_rank, (port, folder), nprocs=NUM_RANKS, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(NUM_RANKS)]


@pytest.mark.distributed
def test_the_bank_is_equal_on_every_rank_and_holds_what_one_rank_with_all_images_would(
    states: States,
) -> None:
    alone = ClassBank(CLASSES, SLOTS, DIM)
    parts = [rows_of(rank) for rank in range(NUM_RANKS)]
    features, classes, scores = (torch.cat([part[index] for part in parts]) for index in range(3))
    images = torch.cat([part[3] + 2 * rank for rank, part in enumerate(parts)])
    alone.push(features, classes, scores, PER_CLASS, images, num_sources=2 * NUM_RANKS)
    assert alone.filled.sum() > 0
    for state in states:
        for name, tensor in alone.state_dict().items():
            assert torch.equal(state["bank"][name], tensor), name


@pytest.mark.distributed
def test_class_frequencies_count_the_labels_of_every_rank(states: States) -> None:
    for state in states:
        assert state["labeled"].tolist() == [4.0, 4.0, 0.0]
