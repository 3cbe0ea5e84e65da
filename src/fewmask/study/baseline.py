"""Trains the baseline of a method beside its run, and compares both: what the unlabeled data gave or cost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from fewmask.errors import UserError
from fewmask.recipe import Recipe, make_method_config
from fewmask.recipe.folders import target_folder
from fewmask.run.folder import RunFolder
from fewmask.run.scores import standing_scores
from fewmask.say import say
from fewmask.training.check_data import check_scored
from fewmask.training.device import is_first_process, wait_for_all
from fewmask.training.start import resume_run, train_recipe
from fewmask.use.model import load
from fewmask.use.tables import print_columns, print_selected

_LOSS = 2.0  # points of IoU; a smaller loss is not worth a line
_FEW_IMAGES = 20


def train_with_baseline(recipe: Recipe, out: Path, console: Console | None = None) -> RunFolder:
    """Trains the recipe in `out`, and its baseline with the same budget in `out/baseline`; compares both on val.

    Raises:
        UserError: val has no masks to compare on; this is checked before any training. Nothing is scored on test.
    """
    check_has_baseline(recipe)
    folder = target_folder(recipe.data)
    if not any(sample.mask for sample in folder.val):
        fix = "Add --folds 3 to compare on the labeled images, keep some images there, or leave out --baseline."
        raise UserError("there are no masks", folder.root / "val" / "masks", fix)
    check_scored(folder.val, folder.classes)
    console = console or Console(stderr=True)
    return _with_baseline(train_recipe(recipe, out, console, baseline_of), console)


def check_has_baseline(recipe: Recipe) -> None:
    """Raises UserError if the method of the recipe is a baseline itself."""
    if recipe.method_type.baseline is None:
        what = f"{recipe.method.name} is the baseline itself"
        raise UserError(what, "--baseline", "Leave it out, or choose another --method.")


def resume_with_baseline(out: Path, console: Console | None = None) -> RunFolder:
    """Goes on with an interrupted run, and with its baseline if it was started with one; then compares both."""
    console = console or Console(stderr=True)
    return _with_baseline(resume_run(out, console), console)


def _with_baseline(run: RunFolder, console: Console) -> RunFolder:
    """Trains what the baseline of a finished run lacks, if the run was started with one, and compares both.

    Of several processes the first compares, and the others wait.
    """
    if run.baseline.is_begun:
        baseline = resume_run(run.baseline.path, console)
        if is_first_process():
            compare_with_baseline(run, baseline, console)
        wait_for_all()
    return run


def baseline_of(recipe: Recipe) -> Recipe:
    """The same recipe with the method's baseline; settings that both methods have keep their values."""
    assert recipe.method_type.baseline is not None
    defaults = make_method_config(recipe.method_type.baseline)
    shared = type(defaults).model_fields.keys() & type(recipe.method).model_fields.keys() - {"name"}
    return recipe.model_copy(
        update={"method": defaults.model_copy(update={name: getattr(recipe.method, name) for name in shared})}
    )


def val_scores(run: RunFolder) -> Mapping[str, Any]:
    """The scores of a finished run on val: those that it keeps if they still stand, else computed now."""
    recipe = run.recipe()
    kept = standing_scores(run, "val", target_folder(recipe.data).val)
    return kept or load(run.path, recipe.training.device).evaluate("val")


def compare_with_baseline(run: RunFolder, baseline: RunFolder, console: Console) -> None:
    """Prints for each class what the unlabeled images gave, and warns if they cost points."""
    recipe = run.recipe()
    method = recipe.method
    ours, theirs = (val_scores(each) for each in (run, baseline))
    what = recipe.method_type.advantage(method)
    after = "" if recipe.pretrain is None else " after the same pre-training"
    print_columns(
        f"what {what} gave{after}, IoU on val",
        {baseline.recipe().method.name: theirs, method.name: ours},
        console,
        gain=True,
    )
    print_selected(ours, console)
    cost = 100 * ((theirs["miou"] or 0) - (ours["miou"] or 0))  # None if val holds no class at all
    if cost > 0:
        longer = ", or see whether a longer training changes this" if recipe.needs.unlabeled else ""
        text = f"{what} cost {cost:.1f} points of mIoU. Use the baseline in {baseline.path}{longer}."
        say(console, text[0].upper() + text[1:], style="red")
    losses = {
        name: 100 * (theirs["per_class"][name] - iou) for name, iou in ours["per_class"].items() if iou is not None
    }
    worse = [f"{name} {loss:.1f}" for name, loss in losses.items() if loss > _LOSS]
    if worse and cost <= 0:
        say(console, f"These classes lost points all the same: {', '.join(worse)}.", style="red")
    if ours["images"] < _FEW_IMAGES:
        say(console, f"Few images say little: val has {ours['images']}.", style="yellow")
