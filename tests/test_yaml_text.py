"""YAML of strangers: a value or one line, in a moment."""

import time
from typing import Any

import pytest
import yaml

from fewmask.data.classes import read_classes
from fewmask.errors import UserError, quoted
from fewmask.recipe import read_recipe
from fewmask.yaml_text import YamlError, parse_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
NO_YAML = {
    "a date that is none": "when: 2024-02-30",
    "a number that is none": "steps: !!int zz",
    "a truth that is none": "steps: !!bool zz",
    "a time that is none": "steps: !!timestamp zz",
    "brackets": "data: " + "[" * 1000,
    "closed brackets": "data: " + "[" * 3000 + "]" * 3000,
    "many digits": "steps: 1" + "0" * 5000,
    "aliases of aliases": BOMB,
    "a list in itself": "data: &a [*a]",
    "an object": "data: !!python/object/apply:os.system [echo]",
    "a control character": "data: a\x00b",
    "a key that is a list": "? [a]\n: b",
    "two documents": "a: 1\n---\nb: 2",
    "binary": "data: !!binary é",
    "a half character": "data: \ud800",
}


@pytest.mark.parametrize("text", NO_YAML.values(), ids=NO_YAML.keys())
def test_what_yaml_cannot_read_is_one_line_in_a_moment(text: str, tmp_path: Any) -> None:
    before = time.process_time()
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
    if "\ud800" not in text:
        for name, read in (("recipe.yaml", read_recipe), ("dataset.yaml", lambda path: read_classes(path.parent))):
            (tmp_path / name).write_text(text)
            with pytest.raises(UserError) as told:
                read(tmp_path / name)
            assert str(told.value).isprintable()
            assert len(str(told.value)) < 1500
    assert time.process_time() - before < 5  # of work, not of waiting; without a limit the bomb takes hours


@pytest.mark.parametrize("text", ["", "a", "a: {b: [1, 2.5, yes, null]}", "a: &x [1]\nb: *x\nc: *x", "d: 2024-02-29"])
def test_everything_else_is_read_as_by_the_library(text: str) -> None:
    assert parse_yaml(text) == yaml.safe_load(text)


def test_a_value_is_quoted_without_being_written_out() -> None:
    deep: Any = "x" * 10**6
    for _ in range(60):
        deep = [deep] * 9
    assert len(quoted(deep)) < 5000
    assert len(quoted("x" * 10**6)) < 100
    assert quoted(10**6000) == "a number of more than 100 digits"
    assert (quoted("a b"), quoted(23), quoted(None), quoted([1, 2])) == ("'a b'", "23", "None", "[1, 2]")


def test_a_message_is_cut_to_what_a_person_reads() -> None:
    error = UserError("what" * 10_000, "where" * 10_000, "fix" * 10_000)
    assert len(str(error)) < 3000
    assert str(error).count(" ... ") == 3
