"""Recipes from files and settings, and back to YAML."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fewmask.data.partition import is_list
from fewmask.errors import UserError, one_line, quoted
from fewmask.methods import DEFAULT, PRETRAINING
from fewmask.models.weights import NOT_ON_DISK
from fewmask.recipe.blocks import Recipe, make_method_config, method_named
from fewmask.recipe.mistakes import explained
from fewmask.recipe.moved import with_moved_settings
from fewmask.recipe.presets import blocks_of_preset
from fewmask.settings import Settings
from fewmask.yaml_text import YamlError, parse_yaml


def recipe_for(source: Path, changes: Mapping[str, Any] | None = None, preset: str = "") -> Recipe:
    """The recipe file `source`, or the default recipe for the dataset folder `source`, with changes by key path.

    A preset gives the settings that neither the file nor the changes name.
    """
    if source.name == "dataset.yaml":
        raise UserError("this names the classes of a dataset, and is no recipe", source, f"Give {source.parent}.")
    if source.suffix in (".yaml", ".yml"):
        return make_recipe(_merged(blocks_of_preset(preset), _blocks_in(source)), changes, str(source))
    blocks = {"data": {"root": str(source)}, "method": DEFAULT}
    return make_recipe(_merged(blocks_of_preset(preset), blocks), changes, "settings")


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """`key.path=value` texts as a mapping; the values are read as YAML."""
    settings = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise UserError(f"{quoted(text)} is not a setting", "--set", "Write it as training.steps=2000.")
        try:
            settings[path.strip()] = parse_yaml(value)
        except YamlError:
            settings[path.strip()] = value
    return settings


def make_recipe(
    settings: Mapping[str, Any], changes: Mapping[str, Any] | None = None, source: str = "recipe"
) -> Recipe:
    """A recipe from nested settings, with changes by key path: `{"training.steps": 2000}`."""
    tree: dict[str, Any] = {
        key: dict(block) if isinstance(block, Mapping) else block for key, block in settings.items()
    }
    for path, value in sorted((changes or {}).items(), key=lambda change: change[0] != "method.name"):
        _apply(tree, path, value)
    try:
        if "method" in tree:
            tree["method"] = _in_full("method", tree["method"])
            tree = with_moved_settings(tree, {"method": _known_to(tree["method"])})
            tree["method"] = make_method_config(tree["method"])
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise explained(error, source) from None


def read_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe file; a relative data.root is taken from where the command runs."""
    return make_recipe(_blocks_in(path), changes, str(path))


def _blocks_in(path: Path) -> dict[str, Any]:
    try:
        settings = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError("there is no such recipe", path, "Give a folder of images or a recipe .yaml file.") from None
    except OSError as error:
        raise UserError(f"the recipe cannot be read ({error.strerror})", path, "Give a recipe .yaml file.") from None
    except ValueError as error:  # YamlError, or no UTF-8
        raise UserError(
            f"this is not YAML ({one_line(error)})", path, "Correct it, or start from one in recipes/."
        ) from None
    if not isinstance(settings, dict):
        raise UserError("a recipe has the keys data, net, method and training", path, "Start from one in recipes/.")
    return settings


def recipe_yaml(recipe: Recipe) -> str:
    """The complete recipe, defaults included, as it is read back by `read_recipe`."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with roots, lists and weights by absolute paths: its run goes on and is scored from any folder."""

    def absolute(value: Any) -> Any:
        return str(Path(value).resolve()) if isinstance(value, str) and Path(value).is_file() else value

    def absolute_weights(weights: str) -> str:
        is_there = weights not in NOT_ON_DISK and Path(weights).exists()
        return str(Path(weights).resolve()) if is_there else weights

    def resolved(block: Settings) -> dict[str, Path]:
        return {key: value.resolve() for key, value in block if isinstance(value, Path)}

    labels = recipe.data.labels
    data = resolved(recipe.data) | {"labels": absolute(labels) if is_list(labels) else labels}
    source = recipe.source
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=data),
            "net": recipe.net.model_copy(update={"weights": absolute_weights(recipe.net.weights)}),
            "method": recipe.method.with_weights(absolute_weights),
            "source": source and source.model_copy(update=resolved(source)),
        }
    )


def changed_settings(before: Recipe, after: Recipe) -> dict[str, tuple[Any, Any]]:
    """The key paths whose values differ, with both values."""
    old, new = _by_path(before.model_dump()), _by_path(after.model_dump())
    paths = [*old, *(path for path in new if path not in old)]
    return {path: (old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)}


def _by_path(block: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in block.items():
        flat |= _by_path(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


_SHORT_FOR = {"method": "name", "source": "root"}
"""`method: class_bank` is short for a block with its name, `source: FOLDER` for one with its root."""


def _apply(tree: dict[str, Any], path: str, value: Any) -> None:
    if path == "method.name":
        _rename(tree, value)
        return
    *blocks, last = path.split(".")
    block = tree
    for key in blocks:
        inner = _in_full(key, block.get(key))
        if key == "pretrain" and inner == PRETRAINING:
            inner = {}
        if not isinstance(inner, Mapping | None):
            raise UserError(
                f"{key} is {quoted(inner)}, which has no setting {last}",
                path,
                f"Correct {key}, or leave this out.",
            )
        block[key] = dict(inner or {})
        block = block[key]
    if path == "pretrain" and value == PRETRAINING and block.get(last):  # as the recipe has it already
        return
    block[last] = _merged(_in_full(last, block.get(last)), value)


def _rename(tree: dict[str, Any], name: Any) -> None:
    """Another method keeps the settings that it knows too."""
    before = _in_full("method", tree.get("method"))
    kept = dict(before) if isinstance(before, Mapping) else {}
    if isinstance(name, str) and kept.get("name") != name:
        known = method_named(name).Config.model_fields
        kept = {key: value for key, value in kept.items() if key in known}
    tree["method"] = kept | {"name": name}


def _known_to(method: Any) -> set[str]:
    """The settings of the method that a block names; none where it names no method."""
    name = method.get("name") if isinstance(method, Mapping) else None
    return set(method_named(name).Config.model_fields) if isinstance(name, str) else set()


def _in_full(key: str, block: Any) -> Any:
    return {_SHORT_FOR[key]: block} if isinstance(block, str | Path) and key in _SHORT_FOR else block


def _merged(before: Any, value: Any) -> Any:
    """A block changes what it names in a block; a method by its name starts from its own defaults."""
    if isinstance(before, Mapping) and isinstance(value, Mapping) and "name" not in value:
        return {**before, **{key: _merged(before.get(key), inner) for key, inner in value.items()}}
    return value
