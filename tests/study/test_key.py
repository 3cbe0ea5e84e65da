"""The key of a run: equal for equal runs, and it says what a person has to set to repeat one."""

from pathlib import Path
from typing import Any

import pytest

from fewmask.errors import UserError
from fewmask.recipe import Recipe, make_recipe, parse_settings
from fewmask.study.key import Run, run_of, settings_of


def _recipe(**blocks: Any) -> Recipe:
    return make_recipe({"data": {"root": "streets"}, "method": "class_bank"} | blocks)


def test_settings_are_what_differs_from_the_defaults_of_the_method() -> None:
    assert settings_of(_recipe()) == ""
    method = {"name": "class_bank", "deviations": ["lowest_ranked"], "contrast_weight": 1}
    training = {"learning_rate": 1e-3, "precision": "32", "steps": 7, "seed": 3, "device": "cpu", "log_every": 1}
    text = settings_of(_recipe(method=method, training=training, net={"encoder": "resnet18", "weights": "none"}))
    words = ["method.contrast_weight=1.0", "method.deviations=[lowest_ranked]"]
    assert text.split(" ") == [*words, "training.learning_rate=0.001", "training.precision='32'"]


def test_a_pretraining_is_a_setting_with_what_differs_from_its_own_defaults() -> None:
    assert settings_of(_recipe(pretrain={})) == "pretrain=label_contrast"
    assert settings_of(_recipe(pretrain={"stride": 4})) == "pretrain=label_contrast pretrain.stride=4"


def test_settings_read_back_make_the_same_recipe() -> None:
    recipe = _recipe(pretrain={"loss": "batch"}, training={"precision": "32", "weight_decay": 1e-5})
    again = make_recipe(
        {"data": {"root": "streets"}, "method": "class_bank"}, parse_settings(settings_of(recipe).split(" "))
    )
    assert again == recipe


def test_the_key_names_the_masks_the_draw_and_the_sizes(tmp_path: Path) -> None:
    names = tmp_path / "seed1.txt"
    names.write_text("a.png\nb.png\n\n")
    data = {"root": "streets", "resize": 0.5, "crop": [176, 240]}
    training = {"steps": 9, "seed": 2}
    net = {"encoder": "resnet18", "weights": str(tmp_path / "imagenet.safetensors")}
    of_list = run_of(_recipe(data=data | {"labels": str(names)}, training=training, net=net), "study", "streets")
    assert of_list == Run(
        *("study", "streets", "", "2", "seed1", 2, "class_bank", "", "", 9),
        *("deeplabv3plus-resnet18", "imagenet.safetensors", "0.5", "176x240"),
    )
    of_share = run_of(_recipe(data=data | {"labels": "1/30", "split_seed": 4}), "study", "streets")
    assert (of_share.labels, of_share.draw) == ("1/30", "4")
    of_all = run_of(_recipe(data={"root": "streets"}, source="day"), "study", "streets", "day")
    assert (of_all.labels, of_all.draw, of_all.resize, of_all.source) == ("all", "", "", "day")


def test_a_list_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"gone\.txt: the list cannot be read"):
        run_of(_recipe(data={"root": "streets", "labels": "gone.txt"}), "study", "streets")
