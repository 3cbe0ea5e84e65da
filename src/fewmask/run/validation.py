"""validation.csv: the scores on val while a run trains, and the step that they select as the run's result."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fewmask.errors import UserError
from fewmask.recipe import Recipe
from fewmask.run.atomic import write_text
from fewmask.run.files import damaged, lost, number_in, read_table, set_aside, table_text, whole_number_in
from fewmask.run.folder import RunFolder

_TIMES = 20  # number of scores on val in a run of one stage that selects and does not set how often


class ValScore(NamedTuple):
    """The mIoU on val of every network after some number of steps, in [0, 1]."""

    step: int
    miou: dict[str, float]


def selects(recipe: Recipe) -> bool:
    """Whether the result is the best step on val."""
    return recipe.training.select == "best_val"


def steps_between_val_scores(recipe: Recipe) -> int:
    """The number of steps between two scores on val; 0 means that val is never scored."""
    training = recipe.training
    if training.score_every is not None:
        return training.score_every
    return max(1, training.steps // _TIMES) if selects(recipe) else 0


def read_val_scores(run: RunFolder) -> list[ValScore]:
    """The scores on val so far, in order of the steps; empty if val was not scored.

    Raises:
        UserError: the file is damaged.
    """
    path = run.validation_file
    if not path.exists():
        return []
    columns, rows = read_table(path)
    networks = [column for column in columns if column != "step"]
    return [
        ValScore(whole_number_in(row, "step", path), {name: number_in(row, name, path) for name in networks})
        for row in rows
    ]


def val_scores_so_far(run: RunFolder, recipe: Recipe, first: int, warn: Callable[[str], None]) -> list[ValScore]:
    """The scores up to the step `first`, for a run that goes on; none if they are damaged and nothing is selected.

    A damaged file is set aside then, and `warn` is called with a sentence for people.

    Raises:
        UserError: the file is damaged, and the run selects by it.
        OSError: the file cannot be set aside.
    """
    try:
        scores = read_val_scores(run)
        if selects(recipe):
            _check_selects(scores, recipe, run)
        return [known for known in scores if known.step <= first]
    except UserError as mistake:
        if selects(recipe):
            raise
        aside = set_aside(run.validation_file)
        warn(f"{mistake.what[:1].upper()}{mistake.what[1:]}: {mistake.where} is kept as {aside.name} and begun anew.")
        return []


def _check_selects(scores: Sequence[ValScore], recipe: Recipe, run: RunFolder) -> None:
    shipped = recipe.networks[0]
    if any(shipped not in score.miou for score in scores):
        raise damaged(run.validation_file, ValueError(f"it has no column {shipped}"))


def write_val_scores(run: RunFolder, scores: Sequence[ValScore]) -> None:
    """Writes the table anew, with a column for every network; raises OSError if it cannot be written."""
    columns = ["step", *dict.fromkeys(name for score in scores for name in score.miou)]
    write_text(run.validation_file, table_text(columns, [{"step": score.step} | score.miou for score in scores]))


def best_val_score(scores: Sequence[ValScore], network: str) -> ValScore:
    """The score in which the network is best; the first one of equals."""
    return max(scores, key=lambda score: score.miou[network])


def selected_val_score(run: RunFolder, recipe: Recipe) -> dict[str, Any] | None:
    """The step that val selected for a run's model, as plain values; None for a run that does not select.

    Raises:
        UserError: the scores on val are lost or damaged.
    """
    if not selects(recipe):
        return None
    scores = read_val_scores(run)
    if not scores:
        raise lost(run.validation_file)
    _check_selects(scores, recipe, run)
    best = best_val_score(scores, recipe.networks[0])
    return {"step": best.step, "of": recipe.training.steps, "by": "val", "miou": best.miou}
