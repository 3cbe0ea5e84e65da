"""All runs of a comparison have the same images, first weights, crops and scores, and end with their last step."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparing import Finished, planned
from fewmask.errors import UserError
from fewmask.methods import METHODS
from fewmask.recipe import Recipe
from fewmask.recipe.blocks import make_method_config, method_named
from fewmask.run.checkpoint import Position
from fewmask.run.folder import RunFolder
from fewmask.run.scores import read_scores
from fewmask.study.compare.plan import Row, Study, cells_of, rows_of
from fewmask.training.batches import reading
from fewmask.training.build import build_method
from fewmask.training.device import launch_fabric
from fewmask.training.prepare import prepare_data
from fewmask.training.start import train_recipe
from toy import HEIGHT, WIDTH, save


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Study:
    """Every method in both arms."""
    return planned(tmp_path_factory.mktemp("every"), dataset, ["all"], arms=("harness", "own"))


@pytest.fixture(scope="module")
def rows(every: Study) -> list[Row]:
    return rows_of(every)


def recipe_of(row: Row) -> Recipe:
    assert isinstance(row.recipe, Recipe)
    return row.recipe


def test_all_methods_with_this_baseline_are_compared_and_the_baseline_once(rows: list[Row]) -> None:
    baseline, *others = [row.name for row in rows]
    of_one_domain = [method for method in METHODS if method.needs(make_method_config(method.name)).source == "optional"]
    assert set(others) >= {method.name for method in of_one_domain if method.baseline == baseline}
    assert len(set(others)) == len(others)
    assert {name for name in others if name.endswith(" own")} >= {"fixmatch own", "cps own", "mean_teacher own"}


def test_only_the_method_differs_between_recipes(rows: list[Row]) -> None:
    for row in rows:
        recipe = recipe_of(row)
        assert recipe.model_copy(update={"method": recipe_of(rows[0]).method}) == rows[0].recipe


def test_in_the_harness_every_method_has_the_class_weights_and_labeled_views_of_the_baseline(rows: list[Row]) -> None:
    shared = recipe_of(rows[0]).method.model_dump(exclude={"name"})
    assert shared["class_balance"] is True
    for row in rows:
        if not row.name.endswith(" own"):
            settings = recipe_of(row).method.model_dump()
            assert {key: settings[key] for key in shared if key in settings} == {
                key: value for key, value in shared.items() if key in settings
            }


def test_the_own_arm_has_the_defaults_of_each_method_and_what_its_paper_has(rows: list[Row]) -> None:
    by_name = {row.name: recipe_of(row).method for row in rows}
    for name in ("fixmatch", "reco", "mean_teacher"):
        own = method_named(name).own
        found = by_name[f"{name} own"].model_dump(mode="json")
        assert found["class_balance"] is own["class_balance"] is False
        assert found["weak"] | own.get("weak", {}) == found["weak"]
    assert by_name["ecs own"] == make_method_config("ecs")
    assert "class_bank own" not in by_name  # its defaults are those of the baseline


def test_networks_start_from_the_same_weights_bit_for_bit(rows: list[Row]) -> None:
    recipe = recipe_of(rows[0])
    first = build_method(recipe, prepare_data(recipe)).student.state_dict()
    for row in rows:
        if row.name.endswith(" own") or row.name == "prototypes":  # whose network has no layers of a decoder
            continue
        recipe = recipe_of(row)
        student = build_method(recipe, prepare_data(recipe)).student.state_dict()
        assert student.keys() == first.keys(), row.name
        assert all(torch.equal(student[key], first[key]) for key in first), row.name


def test_steps_read_the_same_crops(every: Study, rows: list[Row]) -> None:
    by_name = {row.name: row for row in rows}

    def batches(name: str) -> list[Any]:
        (cell, *_) = cells_of(every, [by_name[name]])
        recipe = cell.recipe(3)
        data, fabric = prepare_data(recipe), launch_fabric(recipe.training)
        with reading(data, recipe.training, Position(0, 0), 3, fabric) as read:
            return list(read)

    for learned, mixed, matched in zip(*map(batches, ("supervised", "cutmix", "fixmatch")), strict=True):
        assert torch.equal(learned.labeled.images, mixed.labeled.images)
        assert torch.equal(learned.labeled.images, matched.labeled.images)
        assert torch.equal(mixed.unlabeled.images, matched.unlabeled.images)


def test_runs_have_the_same_images_and_scores(finished: Finished) -> None:
    assert finished.result.failures == {}
    runs = [RunFolder(finished.out / "runs" / f"{name}-2-0") for name in ("supervised", "cutmix", "cps")]
    assert len({tuple(run.labeled_names()) for run in runs}) == 1
    assert len({tuple(run.unlabeled_names() or ()) for run in runs}) == 1
    for split, images in (("val", 3), ("test", 3), ("unlabeled", 2)):
        scores = [read_scores(run, split) for run in runs]
        assert [found["images"] for found in scores] == [images] * 3
        assert [found["selected"] for found in scores] == [None] * 3


def test_no_mask_of_val_or_test_changes_what_is_trained(finished: Finished, tmp_path: Path, dataset: Path) -> None:
    other = Path(shutil.copytree(dataset, tmp_path / "data"))
    for mask in (*other.glob("val/masks/*"), *other.glob("test/masks/*")):
        save(np.zeros((HEIGHT, WIDTH), np.uint8), mask)
    study = planned(tmp_path, other, ["cutmix"])
    (cell, *_) = cells_of(study, [row for row in rows_of(study) if row.name == "cutmix"])
    run = train_recipe(cell.recipe(2), tmp_path / "run")
    assert (
        run.model_file("teacher").read_bytes()
        == RunFolder(finished.out / "runs" / "cutmix-2-0").model_file("teacher").read_bytes()
    )


def test_a_comparison_takes_the_last_step(tmp_path: Path, dataset: Path) -> None:
    with pytest.raises(UserError, match="last step"):
        planned(tmp_path, dataset, ["cutmix"], training={"select": "best_val"})
