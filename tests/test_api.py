"""`import fewmask`: train, resume, load, predict; every mistake is a UserError."""

from pathlib import Path

import numpy as np
import pytest

import fewmask
from toy import NAMES, read, write_recipe


def test_train_load_predict_and_evaluate(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset)
    run = fewmask.train(str(recipe), str(tmp_path / "run"), labels=3, settings={"training.steps": 2})
    assert run == tmp_path / "run"
    model = fewmask.load(str(run))
    assert model.recipe.data.labels == 3
    assert model.recipe.training.steps == 2
    path = dataset / "test" / "images" / "test1.png"
    predictions = model.predict([path, read(path), np.asarray(read(path))])
    assert len(predictions) == 3
    assert predictions[0].labels.max() < len(NAMES)
    scores = model.evaluate("test")
    assert 0 <= scores["miou"] <= 1


def test_method_and_labels_go_before_the_recipe_and_settings_before_both(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset)
    settings = {"data.labels": "1/2", "training.steps": 1}
    run = fewmask.train(recipe, tmp_path / "run", method="supervised", labels=3, settings=settings)
    model = fewmask.load(run)
    assert set(model.networks) == {"student"}
    assert model.recipe.data.labels == "1/2"
    assert len((run / "labeled.txt").read_text().split()) == 2


def test_a_setting_of_none_changes_what_the_recipe_has(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "supervised", score_every=2)
    run = fewmask.train(recipe, tmp_path / "run", settings={"training.score_every": None, "training.steps": 1})
    assert fewmask.load(run).recipe.training.score_every is None


def test_resume_of_a_finished_run_changes_nothing(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "supervised")
    run = fewmask.train(recipe, tmp_path / "run")
    before = (run / "student.safetensors").stat().st_mtime_ns
    assert fewmask.resume(str(run)) == run
    assert (run / "student.safetensors").stat().st_mtime_ns == before


def test_training_tells_its_progress_on_stderr_and_leaves_stdout_to_the_script(
    tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fewmask.train(write_recipe(tmp_path / "recipe.yaml", dataset), tmp_path / "run")
    out, err = capsys.readouterr()
    assert out == ""
    assert "step 4/4" in err


def test_mistakes_are_user_errors(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "supervised")
    with pytest.raises(fewmask.UserError, match="there is no such folder"):
        fewmask.train(tmp_path / "nowhere", tmp_path / "run")
    with pytest.raises(fewmask.UserError, match="there is no method 'none'"):
        fewmask.train(recipe, tmp_path / "run", method="none")
    with pytest.raises(fewmask.UserError, match=r"there is no setting training\.step"):
        fewmask.train(recipe, tmp_path / "run", settings={"training.step": 2})
    with pytest.raises(fewmask.UserError, match="this is no run folder"):
        fewmask.resume(dataset)
    with pytest.raises(fewmask.UserError, match="this is no run folder"):
        fewmask.load(dataset)
    run = fewmask.train(recipe, tmp_path / "run", settings={"training.steps": 1})
    with pytest.raises(fewmask.UserError, match="already holds a run"):
        fewmask.train(recipe, run)
    with pytest.raises(fewmask.UserError, match="there is no device 'gpu'"):
        fewmask.load(run, device="gpu")
    with pytest.raises(fewmask.UserError, match="there is no split 'all'"):
        fewmask.load(run).evaluate("all")
