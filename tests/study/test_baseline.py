"""The supervised baseline beside a run: compared, resumed with it, and refused where it makes no sense."""

import io
import shutil
import signal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from rich.console import Console

from fewmask.errors import UserError
from fewmask.recipe import make_method_config, read_recipe
from fewmask.run.folder import RunFolder
from fewmask.study.baseline import baseline_of, compare_with_baseline, train_with_baseline
from fewmask.training.start import train_recipe
from toy import HEIGHT, WIDTH, Child, begin_run, command, save, write_recipe

HEADING = "what the unlabeled images gave, IoU on val"


@pytest.mark.slow
@pytest.mark.parametrize("interrupted", ["", "baseline"])
def test_run_stopped_anywhere_goes_on_with_its_baseline(interrupted: str, tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, steps=16)
    run = tmp_path / "run"
    child = Child(tmp_path, "train", recipe, "--out", run, "--baseline")
    child.wait_for(lambda: any((run / interrupted / "checkpoints").glob("stage0*")))
    child.signal(signal.SIGINT)
    stopped = child.answer()
    assert stopped.code == 130
    assert stopped.out.endswith(f"fewmask train --resume {run}\n")
    assert HEADING not in stopped.out

    resumed = Child(tmp_path, "train", "--resume", run).answer()
    assert resumed.code == 0
    assert HEADING in resumed.out
    assert (run / "student.safetensors").exists()
    assert (run / "baseline" / "student.safetensors").exists()


def test_run_killed_before_its_first_step_still_knows_of_its_baseline(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset))
    run = RunFolder(tmp_path / "run")
    monkeypatch.setattr("fewmask.training.start._train", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train_with_baseline(recipe, run.path)
    assert run.is_begun
    assert run.baseline.recipe().method.name == "supervised"
    assert run.baseline.labeled_names() == run.labeled_names() == [f"train{index}" for index in range(4)]


def test_baseline_is_the_same_recipe_with_another_method(tmp_path: Path, dataset: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset))
    baseline = baseline_of(recipe)
    assert baseline.method == make_method_config("supervised")
    assert (baseline.data, baseline.net, baseline.training) == (recipe.data, recipe.net, recipe.training)


def test_baseline_keeps_the_settings_that_both_methods_know(tmp_path: Path, dataset: Path) -> None:
    method = {"name": "class_bank", "class_balance": False, "weak": {"classmix_probability": 0.0}}
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset, method))
    expected = make_method_config({**method, "name": "supervised"})
    assert baseline_of(recipe).method == expected != make_method_config("supervised")


def test_comparison_says_when_the_unlabeled_images_cost(tmp_path: Path, dataset: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset))
    console = Console(file=io.StringIO(), width=200)
    good = train_recipe(baseline_of(recipe), tmp_path / "good", console)
    bad_recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"learning_rate": 1e-9})})
    bad = train_recipe(bad_recipe, tmp_path / "bad", console)
    assert compared(bad, good).count("points of mIoU. Use the baseline in") == 1
    assert "points of mIoU" not in compared(good, bad)
    assert "points of mIoU" not in compared(good, good)


def test_comparison_of_a_method_without_unlabeled_images_names_the_method(tmp_path: Path, dataset: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset, {"name": "label_contrast"}, steps=4))
    console = Console(file=io.StringIO(), width=200)
    ours = train_recipe(recipe, tmp_path / "ours", console)
    said = compared(ours, train_recipe(baseline_of(recipe), tmp_path / "theirs", console))
    assert "what label_contrast gave, IoU on val" in said
    assert "unlabeled images" not in said


def test_comparison_says_what_the_baseline_has_too_and_what_it_lacks(tmp_path: Path, dataset: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    twice = {"name": "label_contrast", "pseudo_labels": True}  # its baseline knows no contrast
    for method, settings, heading in (
        ("classmix", {"pretrain": "label_contrast"}, "the unlabeled images gave after the same pre-training"),
        (twice, {}, "what label_contrast gave, IoU on val"),
    ):
        recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset, method, steps=4), settings)
        folder = tmp_path / recipe.method.name
        ours = train_recipe(recipe, folder / "ours", console)
        assert heading in compared(ours, train_recipe(baseline_of(recipe), folder / "theirs", console))


def test_comparison_names_the_classes_that_lost_where_the_mean_gained(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scores(ground: float, car: float, images: int) -> dict[str, Any]:
        per_class = {"ground": ground, "car": car}
        chosen = {"step": 3, "of": 4}
        return {
            "per_class": per_class,
            "miou": (ground + car) / 2,
            "images": images,
            "split": "val",
            "selected": chosen,
        }

    run = begin_run(read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset)), tmp_path / "run")

    def said(*pair: dict[str, Any]) -> str:
        of_both = iter(pair)
        monkeypatch.setattr("fewmask.study.baseline.val_scores", lambda _: next(of_both))
        return compared(run, run)

    text = said(scores(0.9, 0.4, 19), scores(0.5, 0.5, 19))
    assert "These classes lost points all the same: car 10.0." in text
    assert "val has 19" in text
    assert "step 3 of 4, the best on val. Scores on val flatter them." in text
    text = said(scores(0.9, 0.49, 20), scores(0.5, 0.5, 20))
    assert "lost points" not in text
    assert "val has" not in text


def compared(run: RunFolder, baseline: RunFolder) -> str:
    text = io.StringIO()
    compare_with_baseline(run, baseline, Console(file=text, width=200))
    return text.getvalue()


def test_baseline_needs_masks_in_val_before_anything_is_trained(tmp_path: Path, dataset: Path) -> None:
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    shutil.rmtree(data / "val")
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", data))
    with pytest.raises(UserError, match=r"val/masks: there are no masks. Add --folds 3 to compare"):
        train_with_baseline(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_val_without_any_labeled_pixel_is_refused_before_the_training(tmp_path: Path, dataset: Path) -> None:
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    for mask in (data / "val" / "masks").iterdir():
        save(np.full((HEIGHT, WIDTH), 255, np.uint8), mask)
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", data))
    with pytest.raises(UserError, match="every pixel of every mask is ignored, so no score can be computed"):
        train_with_baseline(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_supervised_is_no_baseline_of_itself(tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "supervised")
    answer = command(capsys, "train", recipe, "--out", tmp_path / "run", "--baseline")
    assert answer.code == 2
    assert answer.err.startswith("fewmask: --baseline: supervised is the baseline itself. Leave it out")
