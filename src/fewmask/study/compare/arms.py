"""The settings of a compared method: in one arm those of the baseline, in the other those of its own paper."""

from collections.abc import Mapping
from typing import Any, Literal

from fewmask.errors import UserError, choices
from fewmask.methods import Method
from fewmask.recipe import Recipe, make_recipe

Arm = Literal["harness", "own"]
"""`harness`: a method takes every setting that the baseline has, too, from the baseline: the weights of the classes and
the augmentation of labeled images. `own`: it takes its defaults, and what `Method.own` has from its paper."""


def recipe_of(method: type[Method], arm: Arm, baseline: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The baseline's recipe with another method; data, network and training are the same.

    Args:
        method: the method.
        arm: where the settings come from that the method shares with the baseline.
        baseline: the recipe of the baseline, with the changes that it knows.
        changes: settings of methods by their path, such as `method.confidence_threshold`; the method takes those that
            it knows.

    Raises:
        UserError: a setting does not fit the method.
    """
    known = method.Config.model_fields
    shared = {key: value for key, value in baseline.method.model_dump(mode="json").items() if key in known}
    block = (shared if arm == "harness" else dict(method.own)) | {"name": method.name}
    tree = baseline.model_dump(mode="json") | {"method": block}
    return make_recipe(tree, {path: value for path, value in changes.items() if _key(path) in known})


def check_known(methods: list[type[Method]], changes: Mapping[str, Any]) -> None:
    """Raises UserError if none of the methods knows a setting of methods."""
    known = dict.fromkeys(key for method in methods for key in method.Config.model_fields if key != "name")
    for path in changes:
        if _key(path) not in known:
            fix = f"Known to these methods: {choices(_key(path), known)}."
            raise UserError(f"none of the compared methods has a setting {path}", "--set", fix)


def _key(path: str) -> str:
    """The name of a method's setting: `weak` of `method.weak.hue`."""
    return path.split(".")[1]
