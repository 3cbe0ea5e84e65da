"""Scores on val during a run, and the best of them as its result."""

import csv
import json
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fewmask.errors import UserError
from fewmask.recipe import read_recipe
from fewmask.run.folder import RunFolder
from fewmask.run.validation import (
    ValScore,
    best_val_score,
    read_val_scores,
    selected_val_score,
    val_scores_so_far,
    write_val_scores,
)
from fewmask.training.build import build_method
from fewmask.training.hooks.validation import Validation
from fewmask.training.prepare import prepare_data
from toy import Child, assert_mistake, begin_run, command, write_recipe

Capsys = pytest.CaptureFixture[str]
BANK = {"name": "class_bank", "quality_filter": False, "bank_slots": 64, "teacher_momentum": 0.9}
TRAINING = {"steps": 12, "checkpoint_every": 100, "learning_rate": 0.05, "optimizer": "sgd"}


def train(capsys: Capsys, folder: Path, dataset: Path, **training: Any) -> Path:
    folder.mkdir()
    recipe = write_recipe(folder / "recipe.yaml", dataset, BANK, **TRAINING | training)
    answer = command(capsys, "train", recipe, "--out", folder / "run")
    assert answer.code == 0, answer.err
    return folder / "run"


def scores_on_val(run: Path) -> list[dict[str, float]]:
    with (run / "validation.csv").open(newline="") as file:
        return [{name: float(value) for name, value in line.items()} for line in csv.DictReader(file)]


def evaluated(capsys: Capsys, run: Path) -> dict[str, Any]:
    scores: dict[str, Any] = json.loads(command(capsys, "evaluate", run, "--split", "val", "--json").out)
    return scores


def test_scoring_val_changes_nothing_and_ends_with_the_scores_of_the_model(
    tmp_path: Path, dataset: Path, capsys: Capsys
) -> None:
    run = train(capsys, tmp_path / "scored", dataset, score_every=5)
    assert [row["step"] for row in scores_on_val(run)] == [5, 10, 12]
    scores = evaluated(capsys, run)
    assert scores_on_val(run)[-1]["student"] == pytest.approx(scores["student"]["miou"], abs=1e-6)
    assert scores_on_val(run)[-1]["teacher"] == pytest.approx(scores["teacher"]["miou"], abs=1e-6)
    assert scores["selected"] is None

    blind = train(capsys, tmp_path / "blind", dataset)
    assert not (blind / "validation.csv").exists()
    for model in ("student.safetensors", "teacher.safetensors"):
        assert (run / model).read_bytes() == (blind / model).read_bytes()


def test_the_best_step_on_val_is_the_result_when_asked_for(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    run = train(
        capsys, tmp_path / "best", dataset, score_every=1, select="best_val", steps=7, learning_rate=0.8, poly_power=0
    )
    last = train(capsys, tmp_path / "last", dataset, score_every=1, steps=7, learning_rate=0.8, poly_power=0)
    assert scores_on_val(run) == scores_on_val(last)
    best = max(scores_on_val(run), key=lambda row: row["student"])
    assert best["step"] < 7  # else this would show nothing
    scores = evaluated(capsys, run)
    assert scores["student"]["miou"] == pytest.approx(best["student"], abs=1e-6)
    assert scores["teacher"]["miou"] == pytest.approx(best["teacher"], abs=1e-6)
    assert scores["selected"]["step"] == best["step"]
    assert evaluated(capsys, last)["student"]["miou"] == pytest.approx(scores_on_val(last)[-1]["student"], abs=1e-6)
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
    best = {net: max(scores_on_val(tmp_path / "run"), key=lambda row: row[net]) for net in ("student", "teacher")}
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
    child.wait_for(lambda: (run / "validation.csv").exists() and len(scores_on_val(run)) >= 3)
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


def test_the_best_network_is_that_of_the_scores_which_a_checkpoint_knows(tmp_path: Path, dataset: Path) -> None:
    settings = {"score_every": 1, "select": "best_val"}
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset, "supervised", **settings))
    run = begin_run(recipe, tmp_path / "run")
    data = prepare_data(recipe)
    method = build_method(recipe, data)

    def score(validation: Validation, step: int, miou: float) -> None:
        validation.keep(SimpleNamespace(method=method), ValScore(step, {"student": miou}))  # type: ignore[arg-type]

    first = Validation(run, data.folder, recipe, val_scores_so_far(run, recipe, 0, pytest.fail))
    score(first, 1, 0.1234561)
    score(first, 2, 0.9)  # whose checkpoint is lost
    again = Validation(run, data.folder, recipe, val_scores_so_far(run, recipe, 1, pytest.fail))
    selected = selected_val_score(run, recipe)
    assert selected is not None
    assert selected["step"] == 2
    score(again, 2, 0.1234560)
    assert selected_val_score(run, recipe) == {
        "step": 1,
        "of": recipe.training.steps,
        "by": "val",
        "miou": {"student": 0.1234561},
    }
    score(again, 3, 0.1)
    assert [file.name for file in run.checkpoints.iterdir()] == ["best_student_1.safetensors"]


def test_a_selecting_run_that_lost_its_scores_on_val_is_one_line(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    run = train(capsys, tmp_path / "best", dataset, score_every=1, select="best_val", steps=2)
    (run / "validation.csv").unlink()
    answer = command(capsys, "evaluate", run, "--split", "val")
    assert_mistake(answer, "the run has lost its validation.csv", "Copy the folder again")


def test_of_equal_scores_the_first_is_the_best() -> None:
    found = [ValScore(step, {"student": miou}) for step, miou in ((1, 0.3), (2, 0.5), (3, 0.5))]
    assert best_val_score(found, "student").step == 2


def test_scores_on_val_go_to_a_file_and_back_whatever_the_networks_are_called(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert read_val_scores(run) == []
    scores = [ValScore(5, {"left": 0.1, "right": 0.25}), ValScore(10, {"left": 1 / 3, "right": 0.5})]
    write_val_scores(run, scores)
    assert run.validation_file.read_text().splitlines()[0] == "step,left,right"
    assert read_val_scores(run) == scores


def test_scores_that_nothing_is_selected_by_are_set_aside_if_another_program_changed_them(
    tmp_path: Path, dataset: Path
) -> None:
    run = RunFolder(tmp_path)
    told: list[str] = []
    plain = read_recipe(write_recipe(tmp_path / "plain.yaml", dataset, "supervised", score_every=1))
    selecting = read_recipe(write_recipe(tmp_path / "s.yaml", dataset, "supervised", select="best_val"))
    run.validation_file.write_text("step;student\n5;0.25\n")
    with pytest.raises(UserError, match="it has no column step"):
        val_scores_so_far(run, selecting, 5, told.append)
    assert val_scores_so_far(run, plain, 5, told.append) == []
    assert told == [f"It has no column step: {run.validation_file} is kept as validation.csv.damaged and begun anew."]
    assert (tmp_path / "validation.csv.damaged").read_text() == "step;student\n5;0.25\n"
    run.validation_file.write_text("step,teacher\n5,0.25\n7,0.5\n")
    with pytest.raises(UserError, match="it has no column student"):
        val_scores_so_far(run, selecting, 5, told.append)
    assert val_scores_so_far(run, plain, 5, told.append) == [ValScore(5, {"teacher": 0.25})]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("step,student\n5.5,0.1\n", "the column step holds '5.5', which is no whole number"),
        ("step,student\nnan,0.1\n", "the column step holds 'nan', which is no whole number"),
        ("step,student\n5,0.1,0.2\n", "line 2 has more or fewer cells"),
        ("step,student\n5,high\n", "the column student holds 'high', which is no number"),
        ("student\n0.1\n", "it has no column step"),
    ],
)
def test_damaged_scores_on_val_are_one_line(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "validation.csv").write_text(text)
    with pytest.raises(UserError, match=rf"validation\.csv: {line}"):
        read_val_scores(RunFolder(tmp_path))
