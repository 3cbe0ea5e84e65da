"""`fewmask train`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console
from fewmask.errors import UserError, in_command
from fewmask.say import say


def train(
    source: Annotated[
        Path | None, typer.Argument(metavar="DATA|RECIPE", help="A dataset folder, or a recipe file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make; it must not hold a run.")] = None,
    method: Annotated[str | None, typer.Option(help="The method to train with; a wrong name lists them.")] = None,
    pretrain: Annotated[str | None, typer.Option(help="The pre-training before the method: label_contrast.")] = None,
    labels: Annotated[str | None, typer.Option(help="Which masks to use: 1/30, a count, or a file of names.")] = None,
    split_seed: Annotated[int | None, typer.Option(help="The seed of the random draw of masks.")] = None,
    precision: Annotated[str | None, typer.Option(help="The precision: auto, 32, bf16 or 16.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Network, crops and steps: small, base or large. A folder without a GPU has small."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change any setting of the recipe: training.steps=2000."),
    ] = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Train the supervised baseline too, and compare per class.")
    ] = False,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder.")] = None,
) -> None:
    """Train a model on a dataset folder, or by a recipe file."""
    from fewmask.recipe import parse_settings
    from fewmask.study.baseline import resume_with_baseline, train_with_baseline
    from fewmask.training.preset import recipe_to_train
    from fewmask.training.start import train_recipe
    from fewmask.training.stopping import Interrupted

    screen = console()
    flags = {
        "method.name": method,
        "pretrain": pretrain,
        "data.labels": labels,
        "data.split_seed": split_seed,
        "training.precision": precision,
    }
    changes = {key: value for key, value in flags.items() if value is not None}
    try:
        if resume is not None:
            if source or out or changes or settings or baseline:
                raise UserError("a resumed run keeps its recipe", "--resume", "Give --resume FOLDER and nothing else.")
            run = resume_with_baseline(resume, screen)
        else:
            if source is None:
                raise UserError("there is nothing to train on", "train", "Give a dataset folder or a recipe file.")
            if out is None:
                raise UserError("the run needs a folder", "--out", "Give one that does not exist yet: --out runs/mine.")
            recipe = recipe_to_train(source, changes | parse_settings(settings or []), preset, screen)
            run = (train_with_baseline if baseline else train_recipe)(recipe, out, screen)
    except Interrupted:
        say(screen, f"Stopped, and saved. Go on with: fewmask train --resume {in_command(resume or out)}")
        raise typer.Exit(130) from None
    say(screen, f"Done. Score it: fewmask evaluate {in_command(run.path)}")
    say(screen, f"      Use it:   fewmask predict {in_command(run.path)} IMAGES --out DIR")
    if run.features_picture.exists():
        say(screen, f"      Look at {run.features_picture}: what became of its features.")
