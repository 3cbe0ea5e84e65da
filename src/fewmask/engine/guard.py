"""The guard: the supervised baseline beside a semi-supervised run, and what the unlabeled data gave or cost."""

from pathlib import Path

from rich.console import Console

from fewmask.data.folder import read_folder
from fewmask.engine.model import labeled_samples, load
from fewmask.engine.run_folder import RunFolder
from fewmask.engine.tables import print_columns
from fewmask.engine.train import train_recipe
from fewmask.recipe import Recipe, make_method_config


def train_with_baseline(recipe: Recipe, out: Path, console: Console | None = None) -> RunFolder:
    """Trains the recipe into `out` and its supervised baseline, same budget, into `out/baseline`; compares on val.

    Raises:
        UserError: before anything is trained, if val has no masks to compare on. The test set is not looked at.
    """
    console = console or Console(stderr=True)
    folder = read_folder(recipe.data.root)
    labeled_samples({"val": folder.val}, "val", folder.root)
    run = train_recipe(recipe, out, console)
    baseline = train_recipe(baseline_of(recipe), out / "baseline", console)
    compare_with_baseline(run, baseline, console)
    return run


def baseline_of(recipe: Recipe) -> Recipe:
    """The same recipe with the method `supervised`."""
    return recipe.model_copy(update={"method": make_method_config("supervised")})


def compare_with_baseline(run: RunFolder, baseline: RunFolder, console: Console) -> None:
    """Prints per class what the unlabeled images gave, and warns where they cost."""
    ours, theirs = load(run.path).evaluate("val"), load(baseline.path).evaluate("val")
    name = run.recipe().method.name
    print_columns("what the unlabeled images gave, IoU on val", {"supervised": theirs, name: ours}, console, gain=True)
    if ours["miou"] < theirs["miou"]:
        console.print(
            f"[red]The unlabeled images cost {100 * (theirs['miou'] - ours['miou']):.1f} points of mIoU.[/red] "
            f"Use the baseline in {baseline.path}, or train longer: pseudo-labels pay in long runs."
        )
