"""`fewmask train`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console, progress
from fewmask.errors import UserError, in_command
from fewmask.say import say


def train(
    source: Annotated[
        Path | None, typer.Argument(metavar="DATA|RECIPE", help="A dataset folder, or a recipe file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make; it must not hold a run.")] = None,
    method: Annotated[
        str | None, typer.Option(help="The method; a wrong name lists them, and the first line says which was taken.")
    ] = None,
    pretrain: Annotated[str | None, typer.Option(help="The pre-training before the method: label_contrast.")] = None,
    labels: Annotated[str | None, typer.Option(help="Which masks to use: 1/30, a count, or a file of names.")] = None,
    split_seed: Annotated[int | None, typer.Option(help="The seed of the random draw of masks.")] = None,
    precision: Annotated[str | None, typer.Option(help="The precision: auto, 32, bf16 or 16.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Network, crops and steps: small, base or large. Default for a folder: small on a CPU, else base."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Settings to change: training.steps=2000 data.resize=0.5."),
    ] = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Train the supervised baseline too, and compare per class.")
    ] = False,
    folds: Annotated[
        int | None,
        typer.Option(help="Without a val set: train on parts of the labeled images, and score each on the others."),
    ] = None,
    final: Annotated[
        bool, typer.Option("--final/--no-final", help="After the folds, train on all labeled images.")
    ] = True,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder.")] = None,
) -> None:
    """Train a model on a dataset folder, or by a recipe file."""
    from fewmask.recipe import parse_settings
    from fewmask.report import write_report_of
    from fewmask.run.folds import FoldsFolder
    from fewmask.study.train import go_on, train_as_asked
    from fewmask.training.preset import recipe_to_train
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
            if source or out or changes or settings or preset or baseline or folds or not final:
                raise UserError("a resumed run keeps its recipe", "--resume", "Give --resume FOLDER and nothing else.")
            run = go_on(resume, screen)
        else:
            if source is None:
                raise UserError("there is nothing to train on", "train", "Give a dataset folder or a recipe file.")
            if out is None:
                raise UserError("the run needs a folder", "--out", "Give one that does not exist yet: --out runs/mine.")
            recipe = recipe_to_train(source, changes | parse_settings(settings or []), preset, screen)
            run = train_as_asked(recipe, out, baseline, folds, final, screen)
    except Interrupted:
        say(screen, f"Stopped, and saved. Go on with: fewmask train --resume {in_command(resume or out)}")
        raise typer.Exit(130) from None
    if not run.is_begun:  # folds without a final model
        say(screen, f"Done. The scores are in {FoldsFolder(run.path).scores_file}")
        return
    say(screen, f"Done. Score it: fewmask evaluate {in_command(run.path)}")
    say(screen, f"      Use it:   fewmask predict {in_command(run.path)} IMAGES --out DIR")
    if run.features_picture.exists():
        say(screen, f"      Look at {run.features_picture}: what became of its features.")
    with progress() as bar:
        task = bar.add_task("writing the report", total=None)
        write_report_of(run, screen, None, lambda total: bar.update(task, total=total, advance=1))
