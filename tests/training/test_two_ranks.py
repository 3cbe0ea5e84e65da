"""One run on two CPU ranks: one folder, one voice, one model."""

import csv
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fewmask import cli, load
from fewmask.errors import UserError
from fewmask.methods import Method
from fewmask.run.folder import RunFolder
from fewmask.run.validation import read_val_scores
from fewmask.training import start
from fewmask.training.build import build_method
from fewmask.training.hooks import validation
from fewmask.use.evaluate import confusions
from toy import Answer, Child, draw_scene, save, write_recipe

CLASS_BANK = {"name": "class_bank", "quality_filter": False, "warmup_share": 0.3}

DMT = {"name": "dmt", "num_phases": 1}

LABEL_CONTRAST = {"name": "label_contrast", "pseudo_labels": True, "contrast": {"dim": 16}}

NO_DRAWS = {"flip_probability": 0, "scale_probability": 0, "jitter_probability": 0, "classmix_probability": 0}

State = Mapping[str, torch.Tensor]

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        (CLASS_BANK, ["pretrain.dim=16"]),
        (LABEL_CONTRAST, []),
        (DMT, []),
    ],
    ids=["pretrain, class_bank", "label_contrast", "dmt"],
)
def test_two_ranks_train_one_model(tmp_path: Path, dataset: Path, method: object, changes: list[str]) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, method, steps=6)
    settings = [word for change in changes for word in ("--set", change)]
    first, second = train_by_ranks(tmp_path, recipe, *settings)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []  # also what BatchNorm has seen
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert [step for step in steps if step % 2 == 0] == [2, 4, 6]  # the others are ends of stages
    assert load(tmp_path / "run").recipe.training.devices == 2
    saved = load_file(tmp_path / "run" / "student.safetensors").values()
    kept = list(first.values())
    assert all(any(torch.equal(tensor, other) for other in kept) for tensor in saved)


def test_the_first_of_two_ranks_finds_the_sizes_that_fit_the_memory_of_both(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "supervised", steps=2, memory="auto")
    first, second = train_by_ranks(tmp_path, recipe)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert (tmp_path / "0" / "stdout").read_text().count("training.memory=auto") == 1


def test_two_ranks_that_see_equal_batches_train_the_model_of_one_rank(tmp_path: Path) -> None:
    image, labels = draw_scene(np.random.default_rng(0))
    for index in range(4):
        save(image, tmp_path / "data" / "train" / "images" / f"{index}.png")
        save(labels, tmp_path / "data" / "train" / "masks" / f"{index}.png")
    (tmp_path / "data" / "dataset.yaml").write_text("names: [ground, box, tree, car]\n")
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", {"name": "supervised", "weak": NO_DRAWS})
    (alone,) = train_by_ranks(tmp_path / "alone", recipe, num_ranks=1)
    together = train_by_ranks(tmp_path / "together", recipe)
    for state in together:
        for name, tensor in alone.items():
            times = 2 if name == "frequency.labeled" else 1  # which counts the labels of every rank
            assert torch.equal(state[name], times * tensor), name


def test_ranks_share_the_scoring_of_val_and_find_what_one_process_finds(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, CLASS_BANK, score_every=4)
    scored = tmp_path / "scored"
    train_by_ranks(tmp_path, recipe, main=partial(train_and_note_scored, scored))
    assert sorted(file.read_text() for file in scored.iterdir()) == ["1", "2"]  # of three images
    (row,) = read_val_scores(RunFolder(tmp_path / "run"))
    found = load(tmp_path / "run").evaluate("val")
    assert row.miou == pytest.approx({name: found[name]["miou"] for name in ("student", "teacher")})


def test_two_ranks_train_folds_each_with_its_baseline_and_one_of_them_speaks(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, CLASS_BANK, steps=2)
    train_by_ranks(tmp_path, recipe, "--folds", "2", "--baseline")
    out = (tmp_path / "0" / "stdout").read_text()
    assert out.count("IoU in percent over 2 folds of 4 labeled images") == 1
    assert (tmp_path / "1" / "stdout").read_text() == ""
    for run in (tmp_path / "run", *(tmp_path / "run" / "folds" / fold for fold in ("1", "1/baseline", "2/baseline"))):
        assert load(run).recipe.training.devices == 2


def test_a_rank_that_does_not_find_the_checkpoint_of_rank_0_says_so(tmp_path: Path) -> None:
    fabric = SimpleNamespace(is_global_zero=False, global_rank=1, broadcast=lambda _: "stage0-step00000002")
    with pytest.raises(UserError, match=r"rank 1 does not find the checkpoint of rank 0. Keep the run folder where"):
        start._restore(fabric, RunFolder(tmp_path), nn.Linear(1, 1), [], None)  # type: ignore[arg-type]


def test_torchrun_trains_one_model(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, CLASS_BANK)
    words = ("--standalone", "--nproc-per-node=2", "-m", "fewmask", "train", recipe, "--out", tmp_path / "run")
    answer = Child(tmp_path, *words, environment={"OMP_NUM_THREADS": "1"}, main=torchrun).answer()
    assert answer.code == 0, answer.err
    assert answer.out.count("Done.") == 1
    assert load(tmp_path / "run").recipe.training.devices == 2


def test_two_devices_without_a_launcher_train_one_model_and_its_baseline(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, CLASS_BANK, devices=2)
    words = [sys.executable, "-m", "fewmask", "train", str(recipe), "--out", str(tmp_path / "run"), "--baseline"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("Done.") == 1
    assert load(tmp_path / "run" / "baseline").recipe.training.devices == 2
    assert load(tmp_path / "run").evaluate("test")["miou"] is not None


def test_two_tasks_of_srun_train_one_model(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, CLASS_BANK)
    step = {"SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    node = {"SLURM_NODEID": "0", "SLURM_NNODES": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    tasks = [{"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in ("0", "1")]
    words = ["train", recipe, "--out", tmp_path / "run"]
    children = [
        Child(tmp_path / task["SLURM_PROCID"], *words, environment=step | node | task, main=train_alone)
        for task in tasks
    ]
    assert_one_answers_done([child.answer() for child in children])
    assert load(tmp_path / "run").recipe.training.devices == 2


def test_ranks_stop_together_between_two_lines_of_the_log_and_a_lost_rank_ends_the_other_in_one_line(
    tmp_path: Path, dataset: Path
) -> None:
    recipe = write_recipe(
        tmp_path / "recipe.yaml", dataset, "supervised", steps=100_000, log_every=100_000, checkpoint_every=3
    )
    checkpoints = tmp_path / "run" / "checkpoints"
    children = start_ranks(tmp_path, "train", recipe, "--out", tmp_path / "run")
    children[0].wait_for(lambda: any(checkpoints.glob("stage*")))
    for child in children:
        child.signal(signal.SIGTERM)
    assert [child.answer().code for child in children] == [130, 130]
    (stopped,) = checkpoints.glob("stage*")

    first, second = start_ranks(tmp_path, "train", "--resume", tmp_path / "run")
    first.wait_for(lambda: {path.name for path in checkpoints.glob("stage*")} - {stopped.name} != set())
    second.signal(signal.SIGKILL)
    answer = first.answer()
    told = [line for line in answer.err.splitlines() if "find_unused_parameters" not in line]  # a note of torch
    assert answer.code == 2
    assert told == [
        "fewmask: another process of the run was lost. "
        "Read what that process said, then go on with: fewmask train --resume"
    ]
    assert len(list(checkpoints.glob("stage*"))) == 1


def train_by_ranks(
    folder: Path, recipe: Path, *flags: str, num_ranks: int = 2, main: Callable[[], None] | None = None
) -> list[State]:
    """Trains the recipe in folder/run by warm processes that find what torchrun tells; the state of each at its end."""
    files = [folder / str(rank) / "state.pt" for rank in range(num_ranks)]
    mains = [partial(train_and_keep, file, main or train_alone) for file in files]
    children = start_ranks(folder, "train", recipe, "--out", folder / "run", *flags, mains=mains)
    assert_one_answers_done([child.answer() for child in children])
    return [torch.load(file, weights_only=True) for file in files]


def start_ranks(folder: Path, *words: object, mains: Sequence[Callable[[], None]] | None = None) -> list[Child]:
    """Warm processes that find what torchrun tells, each with a main of its own; two, if no mains are given."""
    mains = mains or [train_alone] * 2
    world = {"WORLD_SIZE": str(len(mains)), "LOCAL_WORLD_SIZE": str(len(mains)), "GROUP_RANK": "0"}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "TORCHELASTIC_RUN_ID": "test"}
    return [
        Child(
            folder / str(rank),
            *words,
            environment=world | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            main=main,
        )
        for rank, main in enumerate(mains)
    ]


def train_and_keep(file: Path, main: Callable[[], None]) -> None:
    """The command, then the state of the method that this rank trained."""
    methods: list[Method] = []
    build = build_method

    def build_and_remember(*arguments: Any) -> Method:
        methods.append(build(*arguments))
        return methods[-1]

    try:
        with patch.object(start, "build_method", build_and_remember):
            main()
    finally:
        torch.save({name: tensor.cpu() for name, tensor in methods[-1].state_dict().items()}, file)


def train_and_note_scored(folder: Path) -> None:
    """The command; every process writes down how many images of val it scored."""
    folder.mkdir(exist_ok=True)

    def noted(networks: Any, samples: Sequence[Any], *others: Any) -> Any:
        (folder / str(os.getpid())).write_text(str(len(samples)))
        return confusions(networks, samples, *others)

    with patch.object(validation, "confusions", noted):
        train_alone()


def train_alone() -> None:
    """The command in a process that computes with one thread."""
    torch.set_num_threads(1)
    cli.main()


def torchrun() -> None:
    """The launcher; the ranks that it starts are new processes."""
    from torch.distributed.run import main

    main()


def free_port() -> str:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def assert_one_answers_done(answers: Sequence[Answer]) -> None:
    """They succeed, and the first speaks for all."""
    assert [answer.code for answer in answers] == [0] * len(answers), answers
    assert [answer.out.count("Done.") for answer in answers] == [1] + [0] * (len(answers) - 1)
