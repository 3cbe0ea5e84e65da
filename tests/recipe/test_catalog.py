"""`fewmask settings`: every setting of every method, as it can be set, and what is said of it."""

from collections.abc import Mapping
from typing import Any

import pytest

from fewmask.errors import UserError
from fewmask.methods import METHODS
from fewmask.recipe import Recipe, blocks_of, make_recipe, parse_settings
from toy import assert_mistake, command

EVERY = [method.name for method in METHODS]
OPTIONAL = {"source", "pretrain"}


def recipe_with(method: str, texts: list[str]) -> Recipe:
    return make_recipe({"data": {"root": "toy"}, "method": method}, parse_settings(texts))


def paths_in(block: Mapping[str, Any], prefix: str = "") -> set[str]:
    """The paths of all values; `net.options` holds what a network takes, and is one."""
    found = set()
    for key, value in block.items():
        found |= paths_in(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {prefix + key}
    return found


@pytest.mark.parametrize("method", EVERY)
def test_every_setting_is_listed_as_it_can_be_set_with_its_default(method: str) -> None:
    default = recipe_with(method, [])
    texts = [setting.text for block in blocks_of(method) if block.key not in OPTIONAL for setting in block.settings]
    set_anew = [text for text in texts if "=" in text]
    assert recipe_with(method, set_anew) == default
    listed = {text.partition("=")[0] for text in set_anew} | {"data.root"}
    assert listed == paths_in(default.model_dump(exclude=OPTIONAL))


def test_optional_blocks_are_listed_with_the_defaults_that_they_have_when_they_are_used() -> None:
    blocks = {block.key: block for block in blocks_of("class_bank")}
    assert blocks["source"].settings[0].text == "source.root"
    used = ["source.root=day", "pretrain=label_contrast"]
    texts = [setting.text for key in OPTIONAL for setting in blocks[key].settings if "=" in setting.text]
    assert recipe_with("class_bank", used + texts) == recipe_with("class_bank", used)


def test_pretraining_is_not_listed_for_a_method_that_refuses_it() -> None:
    with pytest.raises(UserError):
        recipe_with("dmt", ["pretrain=label_contrast"])
    assert [block.key for block in blocks_of("dmt")] == ["data", "net", "method", "source", "training"]


def test_settings_say_what_they_are_for_and_what_they_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    answer = command(capsys, "settings", "label_contrast")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    (line,) = (line for line in lines if "training.optimizer=" in line)
    assert line.split()[1:3] == ["The", "optimizer"]
    assert "(adamw, sgd)" in answer.out
    (line,) = (line for line in lines if "pretrain.weak=null" in line)
    assert line.split()[1:3] == ["How", "an"]
    assert "null: not at all." in answer.out
    assert "None" not in answer.out
    assert "…" not in answer.out  # a key that is cut cannot be copied


def test_settings_of_a_method_that_there_is_not_name_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert_mistake(command(capsys, "settings", "clas_bank"), "there is no method 'clas_bank'", "nearest: class_bank")
