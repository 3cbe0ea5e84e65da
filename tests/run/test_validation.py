"""Looks at val during a run, and the best of them as its result."""

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from fewmask.recipe import read_recipe
from fewmask.run.validation import Look, best_look, selected_look
from fewmask.training.hooks.validation import Validation
from fewmask.training.prepare import prepare_data
from fewmask.training.start import build_method, create_run
from toy import Child, assert_mistake, command, write_recipe

Capsys = pytest.CaptureFixture[str]
BANK = {"name": "class_bank", "quality_filter": False, "bank_slots": 64, "teacher_momentum": 0.9}
TRAINING = {"steps": 12, "checkpoint_every": 100, "learning_rate": 0.05, "optimizer": "sgd"}


def train(capsys: Capsys, folder: Path, dataset: Path, **training: Any) -> Path:
    folder.mkdir()
    recipe = write_recipe(folder / "recipe.yaml", dataset, BANK, **TRAINING | training)
    answer = command(capsys, "train", recipe, "--out", folder / "run")
    assert answer.code == 0, answer.err
    return folder / "run"


def looks(run: Path) -> list[dict[str, float]]:
    with (run / "validation.csv").open(newline="") as file:
        return [{name: float(value) for name, value in line.items()} for line in csv.DictReader(file)]


def evaluated(capsys: Capsys, run: Path) -> dict[str, Any]:
    scores: dict[str, Any] = json.loads(command(capsys, "evaluate", run, "--split", "val", "--json").out)
    return scores


def test_looks_are_scores_on_val_and_change_nothing(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    run = train(capsys, tmp_path / "looked", dataset, score_every=5)
    assert [look["step"] for look in looks(run)] == [5, 10, 12]
    scores = evaluated(capsys, run)
    assert looks(run)[-1]["student"] == pytest.approx(scores["student"]["miou"], abs=1e-6)
    assert looks(run)[-1]["teacher"] == pytest.approx(scores["teacher"]["miou"], abs=1e-6)
    assert scores["selected"] is None

    blind = train(capsys, tmp_path / "blind", dataset)
    assert not (blind / "validation.csv").exists()
    for model in ("student.safetensors", "teacher.safetensors"):
        assert (run / model).read_bytes() == (blind / model).read_bytes()


def test_the_best_look_is_the_result_when_asked_for(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    run = train(
        capsys, tmp_path / "best", dataset, score_every=1, select="best_val", steps=7, learning_rate=0.8, poly_power=0
    )
    last = train(capsys, tmp_path / "last", dataset, score_every=1, steps=7, learning_rate=0.8, poly_power=0)
    assert looks(run) == looks(last)
    best = max(looks(run), key=lambda look: look["student"])
    assert best["step"] < 7  # else this would show nothing
    scores = evaluated(capsys, run)
    assert scores["student"]["miou"] == pytest.approx(best["student"], abs=1e-6)
    assert scores["teacher"]["miou"] == pytest.approx(best["teacher"], abs=1e-6)
    assert scores["selected"]["step"] == best["step"]
    assert evaluated(capsys, last)["student"]["miou"] == pytest.approx(looks(last)[-1]["student"], abs=1e-6)
    shown = command(capsys, "evaluate", run, "--split", "val").out
    assert f"step {best['step']:.0f} of 7, the best on val. Scores on val flatter them." in shown


def test_the_network_that_predicts_decides_also_after_a_stage_before(
    tmp_path: Path, dataset: Path, capsys: Capsys
) -> None:
    method = {"name": "cutmix", "teacher_momentum": 0.5}
    recipe = write_recipe(
        tmp_path / "recipe.yaml", dataset, method, **TRAINING | {"learning_rate": 0.8, "poly_power": 0}
    )
    settings = ("--set", "training.select=best_val", "--set", "training.score_every=1", "--set", "pretrain.share=0.3")
    answer = command(capsys, "train", recipe, "--out", tmp_path / "run", *settings)
    assert answer.code == 0, answer.err
    best = {net: max(looks(tmp_path / "run"), key=lambda look: look[net]) for net in ("student", "teacher")}
    assert best["student"]["step"] != best["teacher"]["step"]  # else this would show nothing
    scores = evaluated(capsys, tmp_path / "run")
    assert scores["predictor"] == "teacher"
    assert scores["selected"]["step"] == best["teacher"]["step"]
    assert scores["miou"] == pytest.approx(best["teacher"]["teacher"], abs=1e-6)


def test_a_selecting_run_that_was_killed_ends_as_the_unbroken_one(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, BANK, **TRAINING, score_every=1, select="best_val")
    unbroken, run = tmp_path / "unbroken", tmp_path / "run"
    assert Child(tmp_path, "train", recipe, "--out", unbroken).answer().code == 0
    child = Child(tmp_path, "train", recipe, "--out", run)
    child.wait_for(lambda: (run / "validation.csv").exists() and len(looks(run)) >= 3)
    child.signal(signal.SIGKILL)
    child.answer()
    assert not (run / "student.safetensors").exists()
    assert Child(tmp_path, "train", "--resume", run).answer().code == 0
    for file in ("student.safetensors", "teacher.safetensors", "validation.csv"):
        assert (run / file).read_bytes() == (unbroken / file).read_bytes()


@pytest.mark.parametrize("setting", ["score_every=2", "select=best_val"])
def test_val_without_masks_is_one_line_before_anything_is_trained(
    setting: str, tmp_path: Path, dataset: Path, capsys: Capsys
) -> None:
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    shutil.rmtree(data / "val" / "masks")
    recipe = write_recipe(tmp_path / "recipe.yaml", data, BANK, **TRAINING)
    answer = command(capsys, "train", recipe, "--out", tmp_path / "run", "--set", f"training.{setting}")
    assert_mistake(answer, "val/masks: there are no masks to score on", "leave out training.score_every")
    assert not (tmp_path / "run").exists()


def test_the_best_network_is_that_of_the_looks_which_a_checkpoint_knows(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"score_every": 1, "select": "best_val"}
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset, "supervised", **settings))
    run = create_run(recipe, tmp_path / "run")
    data = prepare_data(recipe)
    method = build_method(recipe, data)

    def look(validation: Validation, step: int, miou: float) -> None:
        scores = {"student": Mock(miou=miou)}
        monkeypatch.setattr("fewmask.training.hooks.validation.score", lambda *_: scores)
        validation.look(step)

    first = Validation(run, method, data.folder, recipe, 0)
    look(first, 1, 0.1234561)
    look(first, 2, 0.9)  # whose checkpoint is lost
    again = Validation(run, method, data.folder, recipe, 1)
    assert selected_look(run, recipe)["step"] == 2
    look(again, 2, 0.1234560)
    assert selected_look(run, recipe) == {
        "step": 1,
        "of": recipe.training.steps,
        "by": "val",
        "miou": {"student": 0.1234561},
    }
    look(again, 3, 0.1)
    assert [file.name for file in run.checkpoints.iterdir()] == ["best_student_1.safetensors"]


def test_a_selecting_run_that_lost_its_looks_is_one_line(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    run = train(capsys, tmp_path / "best", dataset, score_every=1, select="best_val", steps=2)
    (run / "validation.csv").unlink()
    answer = command(capsys, "evaluate", run, "--split", "val")
    assert_mistake(answer, "the run has lost its validation.csv", "Copy the folder again")


def test_of_equal_looks_the_first_is_the_best() -> None:
    found = [Look(step, {"student": miou}) for step, miou in ((1, 0.3), (2, 0.5), (3, 0.5))]
    assert best_look(found, "student").step == 2
