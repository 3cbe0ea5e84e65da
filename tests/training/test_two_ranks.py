"""One run on two CPU ranks: one folder, one voice, one model."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fewmask import load
from toy import make_dataset, write_recipe

CLASS_BANK = {"name": "class_bank", "quality_filter": False, "warmup_share": 0.3}

DMT = {"name": "dmt", "num_phases": 1}

LABEL_CONTRAST = {"name": "label_contrast", "pseudo_labels": True, "contrast": {"dim": 16}}


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        (CLASS_BANK, ["pretrain.dim=16"]),
        (LABEL_CONTRAST, []),
        (DMT, []),
        ("s4gan", []),
        ("ass", ["source=SOURCE"]),
    ],
    ids=["pretrain, class_bank", "label_contrast", "dmt", "s4gan", "ass"],
)
def test_two_ranks_train_one_model(tmp_path: Path, dataset: Path, method: object, changes: list[str]) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, method, steps=6)
    run = tmp_path / "run"
    source = make_dataset(tmp_path / "source")
    settings = [word for change in changes for word in ("--set", change.replace("SOURCE", str(source)))]
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    assert_one_says_done([*launcher, "fewmask", "train", str(recipe), "--out", str(run), *settings])
    with (run / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert [step for step in steps if step % 2 == 0] == [2, 4, 6]  # the others are ends of stages
    assert load(run).evaluate("test")["miou"] is not None
    assert load(run).recipe.training.devices == 2


@pytest.mark.distributed
def test_two_devices_without_a_launcher_train_one_model(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, CLASS_BANK, devices=2)
    assert_one_says_done(["fewmask", "train", str(recipe), "--out", str(tmp_path / "run")])
    assert load(tmp_path / "run").evaluate("test")["miou"] is not None


@pytest.mark.distributed
def test_two_tasks_of_srun_train_one_model(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, CLASS_BANK)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tasks = []
    for rank in ("0", "1"):
        srun = {"SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
        place = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NODEID": "0", "SLURM_NNODES": "1"}
        environment = os.environ | srun | place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        words = [sys.executable, "-m", "fewmask", "train", str(recipe), "--out", str(tmp_path / "run")]
        pipe = subprocess.PIPE
        task = subprocess.Popen(words, env=environment | {"OMP_NUM_THREADS": "1"}, stdout=pipe, stderr=pipe, text=True)
        tasks.append(task)
    said = [task.communicate() for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert [out.count("Done.") for out, _ in said] == [1, 0]
    assert load(tmp_path / "run").recipe.training.devices == 2


def assert_one_says_done(module_and_words: list[str]) -> None:
    """Runs `python -m` with them: it succeeds, and of its processes one speaks."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", *module_and_words]
    answer = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("Done.") == 1
