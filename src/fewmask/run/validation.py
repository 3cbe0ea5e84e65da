"""Which step of a run is its result: the last one, or the best on val where the recipe asks for it."""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from fewmask.recipe import Recipe
from fewmask.run.folder import RunFolder

_LOOKS = 20  # of a run of one stage that selects and does not say how often


class Look(NamedTuple):
    """The mIoU on val, in [0, 1], of student and teacher after some steps."""

    step: int
    miou: dict[str, float]


def selects(recipe: Recipe) -> bool:
    """Whether the result is the best step on val."""
    return recipe.training.select == "best_val"


def steps_between_looks(recipe: Recipe) -> int:
    """How often to score val; 0 for never."""
    training = recipe.training
    if training.score_every is not None:
        return training.score_every
    return max(1, training.steps // _LOOKS) if selects(recipe) else 0


def read_looks(run: RunFolder) -> list[Look]:
    """The looks of a run so far."""
    if not run.validation_file.exists():
        return []
    lines = csv.DictReader(io.StringIO(run.validation_file.read_text(encoding="utf-8")))
    return [Look(int(line.pop("step")), {name: float(value) for name, value in line.items()}) for line in lines]


def best_look(looks: Sequence[Look], net: str) -> Look:
    """The first of those with the highest score of `net`."""
    return max(looks, key=lambda look: look.miou[net])


def selected_look(run: RunFolder, recipe: Recipe) -> dict[str, Any] | None:
    """Which look a run's model is from, as plain values; None for the last step of a run that does not select."""
    if not selects(recipe):
        return None
    looks = read_looks(run)
    if not looks:
        raise run.incomplete(run.validation_file.name)
    look = best_look(looks, recipe.needs.networks[0])
    return {"step": look.step, "of": recipe.training.steps, "by": "val", "miou": look.miou}
