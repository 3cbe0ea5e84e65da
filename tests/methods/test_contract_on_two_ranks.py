"""Every method on two CPU ranks over gloo: each rank sees images of its own, and both hold one model."""

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import start_processes

from contract import begin, build, toy_batch
from fewmask.methods import METHODS
from fewmask.models.build import NetConfig
from fewmask.ops.draw import seed_draws
from fewmask.recipe import TrainingConfig
from fewmask.training.device import fit_to_device, launch_fabric
from fewmask.training.trainer import Trainer

States = list[dict[str, dict[str, torch.Tensor]]]
STEPS = (0, 5, 9)
"""The first, a middle and the last of ten steps of the last stage: the phases of a toy method. Others take one."""

pytestmark = pytest.mark.distributed


def train_all_as_rank(rank: int, port: int, folder: Path, net: NetConfig) -> None:
    """Every method takes a few steps on this rank; its states are written down."""
    torch.set_num_threads(1)
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    os.environ.update(world | meeting)
    fabric = launch_fabric(TrainingConfig(device="cpu"))
    states = {}
    for method_type in METHODS:
        method = build(method_type, net)
        batch = toy_batch(method_type, seed=rank)
        fit_to_device(method, fabric)
        parameters = [parameter for group in method.parameter_groups() for parameter in group.parameters]
        optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
        trainer = Trainer(method, [optimizer], TrainingConfig(), fabric)
        for stage in trainer.stages:
            begin(method, stage, batch)
            for step in STEPS if stage is trainer.stages[-1] else STEPS[:1]:
                seed_draws(2 * step + rank, torch.device("cpu"))
                trainer.step(method.now(step, 10, stage.name), batch)
        states[method_type.name] = method.state_dict()
    torch.save(states, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory, tiny_net: NetConfig) -> States:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(train_all_as_rank, (port, folder, tiny_net), nprocs=2, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", [method.name for method in METHODS])
def test_both_ranks_hold_one_model(states: States, name: str) -> None:
    first, second = (state[name] for state in states)
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
