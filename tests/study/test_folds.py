"""Folds: every labeled image is scored once by a model that has not seen it; stopped, they go on."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from fewmask.errors import UserError
from fewmask.recipe import Recipe, read_recipe
from fewmask.recipe.folders import target_folder
from fewmask.run.folder import RunFolder
from fewmask.run.folds import FoldsFolder
from fewmask.run.scores import read_scores
from fewmask.study import folds as folds_module
from fewmask.study.baseline import val_scores
from fewmask.study.fold_scores import means_of, print_means
from fewmask.study.folds import train_folds
from fewmask.study.statistics import estimate
from fewmask.study.train import go_on, train_as_asked
from fewmask.training import start
from toy import HEIGHT, WIDTH, assert_mistake, command, make_dataset, save, write_recipe

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def no_val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four labeled images, two of train without masks, two in unlabeled/, and no val."""
    root = make_dataset(tmp_path_factory.mktemp("no_val"), labeled=6, unlabeled=2, val=0, test=1)
    for name in ("train2", "train5"):
        (root / "train" / "masks" / f"{name}.png").unlink()
    return root


def recipe_of(folder: Path, data: Path, **training: Any) -> Recipe:
    return read_recipe(write_recipe(folder / "recipe.yaml", data, **training))


@pytest.fixture(scope="module")
def stopped_and_resumed(tmp_path_factory: pytest.TempPathFactory, no_val: Path) -> tuple[RunFolder, list[str], str]:
    """Two folds with baselines and a final model, stopped before the first scores; and each training that began."""
    folder = tmp_path_factory.mktemp("folds")
    recipe, trained, text = recipe_of(folder, no_val, steps=2), list[str](), io.StringIO()
    train = start._train

    def noted(*arguments: Any) -> None:
        trained.append(str(arguments[-2].path.relative_to(folder)))
        train(*arguments)

    def stopped(run: RunFolder) -> Any:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "_train", noted)
        patch.setattr(folds_module, "val_scores", stopped)
        with pytest.raises(KeyboardInterrupt):
            train_folds(recipe, folder / "run", 2, baseline=True, console=QUIET)
        patch.setattr(folds_module, "val_scores", val_scores)
        run = go_on(folder / "run", Console(file=text, width=120))
    return run, trained, text.getvalue()


def test_folds_that_were_stopped_go_on_and_nothing_is_trained_twice(
    stopped_and_resumed: tuple[RunFolder, list[str], str],
) -> None:
    run, trained, _ = stopped_and_resumed
    assert trained == ["run/folds/1", "run/folds/1/baseline", "run/folds/2", "run/folds/2/baseline", "run"]
    assert run.is_finished
    assert len(run.labeled_names()) == 4


def test_every_labeled_image_is_scored_once_by_a_model_that_has_not_seen_it(
    stopped_and_resumed: tuple[RunFolder, list[str], str],
) -> None:
    run, *_ = stopped_and_resumed
    scored: list[str] = []
    for number in (1, 2):
        fold = FoldsFolder(run.path).fold(number)
        for each in (fold, fold.baseline):
            held_out = [sample.name for sample in target_folder(each.recipe().data).val]
            assert read_scores(each, "val")["images"] == len(held_out) == 2
            assert sorted((*each.labeled_names(), *held_out)) == ["train0", "train1", "train3", "train4"]
            unlabeled = each.unlabeled_names() or []
            assert sorted(unlabeled) == ["more0.png", "more1.png", "train2.png", "train5.png"]
        scored += held_out
    assert sorted(scored) == ["train0", "train1", "train3", "train4"]


def test_result_is_the_mean_over_the_folds_with_its_interval_and_the_gain_in_pairs(
    stopped_and_resumed: tuple[RunFolder, list[str], str],
) -> None:
    run, _, text = stopped_and_resumed
    folds = FoldsFolder(run.path)
    means = json.loads(folds.scores_file.read_text())
    ours = [read_scores(folds.fold(number), "val") for number in (1, 2)]
    theirs = [read_scores(folds.fold(number).baseline, "val") for number in (1, 2)]
    for key in ("miou", "car"):
        values, others = ([score_of(scores, key) for scores in each] for each in (ours, theirs))
        gains = [mine - other for mine, other in zip(values, others, strict=True)]
        for name, expected in (("method", values), ("gain", gains)):
            found = means[name]["miou"] if key == "miou" else means[name]["per_class"][key]
            assert found["folds"] == pytest.approx(expected)
            assert [found[part] for part in ("mean", "low", "high")] == pytest.approx(estimate(expected)[:3])
    assert "IoU in percent over 2 folds of 4 labeled images: mean ± half of the 95 % interval" in text
    assert f"{100 * means['method']['miou']['mean']:.1f} ± " in text
    assert "points of mIoU (" in text


def test_folds_go_on_after_their_folder_was_moved(
    stopped_and_resumed: tuple[RunFolder, list[str], str], tmp_path: Path
) -> None:
    folds = FoldsFolder(Path(shutil.copytree(stopped_and_resumed[0].path, tmp_path / "moved")))
    stays = FoldsFolder(stopped_and_resumed[0].path).path
    stays.rename(stays.with_name("away"))  # as a move leaves it
    try:
        for run in (folds.fold(2), folds.fold(2).baseline):
            shutil.rmtree(run.checkpoints)
            run.model_file("student").unlink()
            run.scores_file("val").unlink()
        go_on(folds.out, QUIET)
        assert read_scores(folds.fold(2), "val")["images"] == 2
        assert folds.fold(2).baseline.is_finished
    finally:
        stays.with_name("away").rename(stays)


def test_folds_and_a_run_do_not_share_a_folder(
    stopped_and_resumed: tuple[RunFolder, list[str], str], no_val: Path, tmp_path: Path
) -> None:
    folds = FoldsFolder(tmp_path / "run")
    shutil.copytree(FoldsFolder(stopped_and_resumed[0].path).path, folds.path)
    recipe = recipe_of(tmp_path, no_val, steps=1)
    for count in (None, 2):
        with pytest.raises(UserError, match=r"run/folds: this folder already holds folds\. Go on with it: .*--resume"):
            train_as_asked(recipe, folds.out, folds=count)
    with pytest.raises(UserError, match=r"this folder already holds a run\. Go on with it|It is finished"):
        train_as_asked(recipe, folds.fold(1).path, folds=2)


def score_of(scores: dict[str, Any], key: str) -> float:
    return float(scores["miou"] if key == "miou" else scores["per_class"][key])


def test_without_a_final_model_the_command_names_the_scores(
    tmp_path: Path, no_val: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", no_val, "supervised", steps=1)
    run = tmp_path / "run"
    answer = command(capsys, "train", recipe, "--out", run, "--folds", "2", "--no-final")
    assert answer.code == 0
    assert answer.out.endswith(f"Done. The scores are in {run / 'folds' / 'scores.json'}\n")
    assert not RunFolder(run).is_begun
    assert_mistake(
        command(capsys, "train", recipe, "--out", run, "--folds", "2"), "already holds folds", f"--resume {run}"
    )
    assert_mistake(command(capsys, "train", recipe, "--out", tmp_path / "b", "--baseline"), "is the baseline itself")


@pytest.mark.parametrize(
    ("count", "method", "settings", "message"),
    [
        (5, "class_bank", {}, "--folds: 5 folds are asked for, and 4 images are labeled. Ask for at most 4."),
        (1, "class_bank", {}, "--folds 1 leaves nothing to score, or nothing to learn from. Take 3 or 5."),
        (2, "source_only", {}, "the method source_only learns from no labeled image of the target"),
        (2, "class_bank", {"data.held_out": "some.txt"}, "data.held_out keeps images from the training already"),
        (2, "class_bank", {"training.select": "best_val"}, "training.select=best_val would select on the images that"),
    ],
)
def test_folds_that_cannot_work_are_one_line_and_leave_no_folder(
    count: int, method: str, settings: dict[str, Any], message: str, tmp_path: Path, no_val: Path
) -> None:
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", no_val, method), settings)
    with pytest.raises(UserError) as mistake:
        train_folds(recipe, tmp_path / "run", count, console=QUIET)
    assert message in str(mistake.value)
    assert not (tmp_path / "run").exists()


def test_no_final_model_without_folds_is_a_mistake(tmp_path: Path, no_val: Path) -> None:
    with pytest.raises(UserError, match=r"--no-final: without folds, the final model is all there is. Add --folds 3"):
        train_as_asked(recipe_of(tmp_path, no_val), tmp_path / "run", final=False)


def test_a_class_of_one_fold_and_a_val_set_are_remarked_before_the_training(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    (data / "dataset.yaml").write_text("names: [ground, box, tree, car, sign]\n")
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:9] = 4
    save(labels, data / "train" / "masks" / "train1.png")
    stop: Callable[..., Any] = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # noqa: E731
    monkeypatch.setattr(folds_module, "_finish", stop)
    text = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        train_folds(recipe_of(tmp_path, data), tmp_path / "run", 2, console=Console(file=text, width=300))
    assert "sign is in the masks of one fold alone: the model that is scored on it has never seen it" in text.getvalue()
    assert text.getvalue().count("in the masks of one fold") == 1
    assert "val has 3 images with masks. The folds neither learn from them nor score them" in text.getvalue()


def test_means_of_classes_that_folds_lack(tmp_path: Path, no_val: Path) -> None:
    def scores(miou: float, sky: float | None, car: float | None, rider: float | None = None) -> dict[str, Any]:
        return {"miou": miou, "images": 4, "per_class": {"sky": sky, "car": car, "rider": rider}}

    means = means_of([scores(0.5, 0.8, None), scores(0.7, 0.9, 0.4)], [scores(0.6, 0.8, None), scores(0.6, 0.9, 0.5)])
    assert means["method"]["per_class"]["rider"] is None
    assert means["method"]["per_class"]["car"] == {"mean": 0.4, "low": None, "high": None, "folds": [None, 0.4]}
    assert means["gain"]["miou"]["mean"] == pytest.approx(0.0)
    json.dumps(means, allow_nan=False)
    text = io.StringIO()
    print_means(recipe_of(tmp_path, no_val), means, Console(file=text, width=120))
    assert "-10.0 (one fold)" in text.getvalue()
    assert "n/a" in text.getvalue()
    assert "gave 0.0 points of mIoU (-127.1 to +127.1), which may be chance." in text.getvalue()
