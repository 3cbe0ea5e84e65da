"""Trains what a command asks for: a run, a run beside its baseline, or folds and a final run; and goes on with it."""

from pathlib import Path

from rich.console import Console

from fewmask.errors import UserError
from fewmask.recipe import Recipe
from fewmask.run.folder import RunFolder
from fewmask.run.folds import FoldsFolder
from fewmask.study.baseline import resume_with_baseline, train_with_baseline
from fewmask.study.folds import resume_folds, train_folds
from fewmask.training.start import train_recipe


def train_as_asked(
    recipe: Recipe,
    out: Path,
    baseline: bool = False,
    folds: int | None = None,
    final: bool = True,
    console: Console | None = None,
) -> RunFolder:
    """Trains in the new folder `out`; raises UserError if it holds anything of a run, or of folds.

    Args:
        recipe: the recipe.
        out: the folder.
        baseline: whether to train the baseline, too.
        folds: the number of folds of the labeled images; None: no folds.
        final: whether to train on all labeled images after the folds.
        console: where to print.
    """
    if folds is not None:
        return train_folds(recipe, out, folds, baseline, final, console)
    if not final:
        raise UserError("without folds, the final model is all there is", "--no-final", "Add --folds 3.")
    FoldsFolder(out).check_holds_none()
    return (train_with_baseline if baseline else train_recipe)(recipe, out, console)


def go_on(out: Path, console: Console | None = None) -> RunFolder:
    """Goes on with what was begun in the folder."""
    return (resume_folds if FoldsFolder(out).is_begun else resume_with_baseline)(out, console)
