"""A mistake in a recipe as one line: the key, its value, and the nearest choice that is allowed."""

from collections.abc import Mapping, Sequence
from typing import get_args

from pydantic import BaseModel, ValidationError

from fewmask.errors import UserError, choices, quoted, reason_of
from fewmask.methods import METHODS
from fewmask.models.build import NetConfig
from fewmask.recipe.blocks import DataConfig, Recipe, TrainingConfig

_BLOCKS: dict[str, type[BaseModel]] = {"data": DataConfig, "net": NetConfig, "training": TrainingConfig}


def explained(error: ValidationError, source: str) -> UserError:
    """One line for a mistake that pydantic found in the settings from `source`: the first, or the first unknown key."""
    configs: dict[str, type[BaseModel]] = {
        Recipe.__name__: Recipe,
        **{method.Config.__name__: method.Config for method in METHODS},
    }
    config = configs[error.title]
    mistakes = error.errors()
    # A misspelt key also makes the right key missing; the misspelling says more.
    first = next((mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"), mistakes[0])
    keys, block = _located(config, first["loc"])
    place = ".".join(keys if config is Recipe else ["method", *keys])
    if first["type"] == "extra_forbidden":
        named = [f"{name}.{keys[-1]}" for name, other in _BLOCKS.items() if keys[-1] in other.model_fields]
        fix = f"Write {named[0]}." if named else f"Known here: {choices(keys[-1], block.model_fields)}."
        return UserError(f"there is no setting {place}", source, fix)
    if first["type"] == "missing" and len(keys) == len(first["loc"]):
        return UserError(f"{place} is missing", source, "Add it, or pass it with --set.")
    reasons = {reason_of(mistake) for mistake in mistakes if _located(config, mistake["loc"])[0] == keys}
    given = "" if isinstance(first["input"], Mapping) else f" is {quoted(first['input'])}"
    return UserError(f"{place}{given}: {', or '.join(sorted(reasons))}", source, "Correct this setting.")


def _located(config: type[BaseModel], location: Sequence[str | int]) -> tuple[list[str], type[BaseModel]]:
    """The keys of the recipe that lead to a mistake, without pydantic's own, and the block that holds the last key."""
    keys: list[str] = []
    holder, block = config, config
    for key in location:
        keys.append(str(key))
        holder, field = block, block.model_fields.get(str(key))
        candidates = [] if field is None else [field.annotation, *get_args(field.annotation)]
        inner = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if inner is None:  # the rest of the keys names a member of a union or a list
            break
        block = inner
    return keys, holder
