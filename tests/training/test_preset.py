"""Presets: the one that fits the device, under everything that a person states."""

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from fewmask.errors import UserError
from fewmask.methods import DEFAULT
from fewmask.models.build import NetConfig
from fewmask.recipe import DataConfig, TrainingConfig
from fewmask.recipe.presets import PRESETS
from fewmask.training import preset as preset_module
from fewmask.training.prepare import prepare_data
from fewmask.training.preset import recipe_to_train


def chosen(source: Path, changes: dict[str, Any], preset: str | None = None) -> tuple[Any, str]:
    text = io.StringIO()
    return recipe_to_train(source, changes, preset, Console(file=text, width=300)), text.getvalue()


def test_a_folder_without_a_gpu_has_the_small_preset_under_what_is_set(dataset: Path) -> None:
    recipe, said = chosen(dataset, {"training.device": "cpu", "training.steps": 7})
    small = PRESETS["small"].settings
    assert recipe.net.encoder == small["net.encoder"]
    assert recipe.data.largest_crop == small["data.largest_crop"]
    assert recipe.training.steps == 7
    lines = said.splitlines()
    assert lines[0] == f"Method {DEFAULT}, the default. --method takes another, and --baseline says what it gives."
    assert lines[1].startswith("Preset small, because the device is a CPU: net.encoder=mobilenetv2_100 data.largest")
    assert "training.steps" not in said
    assert said.endswith("--preset base or --preset large takes another.\n")


def test_a_folder_with_a_gpu_has_the_defaults(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preset_module, "choose_device", lambda wanted, where: "cuda")
    recipe, said = chosen(dataset, {"method.name": "cutmix"})
    assert (recipe.net, recipe.training, said) == (NetConfig(), TrainingConfig(), "")


def test_base_is_the_defaults(dataset: Path) -> None:
    recipe, said = chosen(dataset, {}, "base")
    assert (recipe.net, recipe.training, recipe.data) == (NetConfig(), TrainingConfig(), DataConfig(root=dataset))
    assert "net.encoder=resnet50" in said


def test_a_recipe_file_has_no_preset_unless_one_is_asked_for_and_goes_before_it(tmp_path: Path, dataset: Path) -> None:
    file = tmp_path / "recipe.yaml"
    blocks = {"data": {"root": str(dataset)}, "method": "supervised", "training": {"learning_rate": None, "steps": 9}}
    file.write_text(yaml.safe_dump(blocks))
    recipe, said = chosen(file, {})
    assert (recipe.net, recipe.training.labeled_batch, said) == (NetConfig(), 4, "")
    recipe, said = chosen(file, {"net.encoder": "resnet18"}, "large")
    assert (recipe.training.steps, recipe.training.learning_rate, recipe.training.labeled_batch) == (9, None, 8)
    assert said.startswith("Preset large: data.largest_crop=768 training.labeled_batch=8.")


def test_large_images_are_shrunk_where_the_preset_wants_it_and_nobody_says_otherwise(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "small", PRESETS["small"]._replace(longest_side=32))
    recipe, said = chosen(dataset, {}, "small")
    assert recipe.data.resize == 0.5  # images are 64 pixels wide
    assert "data.resize=0.5" in said
    assert prepare_data(recipe).crop == (24, 32)
    assert chosen(dataset, {"data.resize": 1}, "small")[0].data.resize == 1
    assert chosen(dataset, {}, "large")[0].data.resize is None


def test_the_largest_crop_bounds_crops_that_nobody_states(dataset: Path) -> None:
    for changes, crop in (
        ({"data.largest_crop": 50}, (48, 50)),
        ({"data.largest_crop": 50, "data.crop": 60}, (60, 60)),
    ):
        assert prepare_data(chosen(dataset, changes, "base")[0]).crop == crop


def test_a_wrong_preset_is_one_line(dataset: Path) -> None:
    with pytest.raises(UserError, match=r"--preset: there is no preset 'smal'. .*\(nearest: small\)"):
        chosen(dataset, {}, "smal")
