"""The command line: every command parses, calls one function, and prints."""

import json
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TextIO, cast

import typer
from rich.console import Console
from rich.progress import Progress

from fewmask.engine.lasting_stream import LastingStream
from fewmask.engine.say import say
from fewmask.errors import UserError, in_command

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train a semantic segmentation model from a handful of labeled masks and many unlabeled images.",
)

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting of the recipe: training.steps=2000.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fewmask {version('fewmask')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What comes before a command."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the scenes, the two runs and the picture.")] = Path("demo"),
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each method.")] = None,
) -> None:
    """Make street scenes, train with 8 masks of 200 images, and compare with supervised training."""
    from fewmask.engine.demo import run_demo
    from fewmask.engine.fit import Interrupted

    try:
        run_demo(out, _console(), steps)
    except Interrupted:
        say(_console(), "Stopped, and saved. The same command goes on from here.")
        raise typer.Exit(130) from None


@app.command()
def doctor(
    data: Annotated[Path, typer.Argument(help="A dataset folder.")],
    strict: Annotated[bool, typer.Option(help="Exit with 1 when there are warnings.")] = False,
) -> None:
    """Read every image and mask, and say what is wrong and what to do."""
    from fewmask.data.doctor import examine
    from fewmask.data.doctor_print import print_diagnosis

    with _progress() as progress:
        diagnosis = examine(data, progress)
    print_diagnosis(diagnosis, _console())
    raise typer.Exit(diagnosis.exit_code(strict))


@app.command()
def train(
    source: Annotated[
        Path | None, typer.Argument(metavar="DATA|RECIPE", help="A dataset folder, or a recipe file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make.")] = None,
    method: Annotated[
        str | None, typer.Option(help="class_bank (the default), supervised, or another; a wrong name lists them.")
    ] = None,
    pretrain: Annotated[str | None, typer.Option(help="label_contrast: a stage of it before the method.")] = None,
    labels: Annotated[str | None, typer.Option(help="Which masks to use: 1/30, a count, or a file of names.")] = None,
    split_seed: Annotated[int | None, typer.Option(help="Which random draw of them.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, 32 or bf16.")] = None,
    settings: Settings = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Train the supervised baseline too, and compare per class.")
    ] = False,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder.")] = None,
) -> None:
    """Train a model from a folder of images, or by a recipe."""
    from fewmask.engine.fit import Interrupted
    from fewmask.engine.guard import resume_with_baseline, train_with_baseline
    from fewmask.engine.train import train_recipe
    from fewmask.recipe import parse_settings, recipe_for

    console = _console()
    try:
        if resume is not None:
            if (
                source
                or out
                or method
                or pretrain
                or labels
                or settings
                or baseline
                or split_seed is not None
                or precision
            ):
                raise UserError("a resumed run keeps its recipe", "--resume", "Give --resume FOLDER and nothing else.")
            run = resume_with_baseline(resume, console)
        else:
            if source is None:
                raise UserError("there is nothing to train on", "train", "Give a dataset folder or a recipe file.")
            flags = {
                "method.name": method,
                "pretrain": pretrain,
                "data.labels": labels,
                "data.split_seed": split_seed,
                "training.precision": precision,
            }
            changes = {key: value for key, value in flags.items() if value is not None}
            recipe = recipe_for(source, changes | parse_settings(settings or []))
            if out is None:
                raise UserError("the run needs a folder", "--out", "Give one that does not exist yet: --out runs/mine.")
            run = (train_with_baseline if baseline else train_recipe)(recipe, out, console)
    except Interrupted:
        where = resume or out
        say(console, f"Stopped, and saved. Go on with: fewmask train --resume {in_command(where)}")
        raise typer.Exit(130) from None
    say(console, f"Done. Score it: fewmask evaluate {in_command(run.path)}")
    say(console, f"      Use it:   fewmask predict {in_command(run.path)} IMAGES --out DIR")
    if run.features_picture.exists():
        say(console, f"      Look at {run.features_picture}: what became of its features.")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    split: Annotated[str, typer.Option(help="val, test or train.")] = "val",
    data: Annotated[Path | None, typer.Option(help="Another dataset folder of the same classes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Score a trained model: one confusion matrix over the whole split, at full label size."""
    from fewmask.engine.model import load
    from fewmask.engine.tables import print_scores

    model = load(run, device)
    with _progress() as progress:
        task = progress.add_task("scoring", total=None)
        scores = model.evaluate(split, lambda total: progress.update(task, total=total, advance=1), data)
    if as_json:
        typer.echo(json.dumps(scores))
    else:
        print_scores(scores, _console())


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    images: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    out: Annotated[Path, typer.Option(help="Folder for masks, overlays and confidence.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Write an index mask with palette, an overlay, and the confidence of every image."""
    from fewmask.engine.model import load
    from fewmask.engine.predict import predict_files

    model = load(run, device)
    with _progress() as progress:
        task = progress.add_task("predicting", total=None)
        count = predict_files(model, images, out, force, lambda total: progress.update(task, total=total, advance=1))
    say(_console(), f"{count} image{'' if count == 1 else 's'} -> {out}/masks, {out}/overlays, {out}/confidence")


@app.command("settings")
def list_settings(
    method: Annotated[
        str, typer.Argument(help="Of a recipe with this method; a wrong name lists them.")
    ] = "class_bank",
) -> None:
    """List every setting of a recipe with its default, as --set takes it, and what it is for."""
    from fewmask.engine.tables import print_settings

    print_settings(method, _console())


def main() -> None:
    """Runs the command line; a person's mistake is one line and exit code 2."""
    warnings.filterwarnings("ignore", module="torch|lightning|timm|tensorboard|PIL")
    try:
        app()
    except UserError as error:
        typer.echo(f"fewmask: {error}", err=True)
        sys.exit(2)


def _console() -> Console:
    """Where a person reads; of several ranks, the first one speaks."""
    launchers = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # of torchrun, Fabric and srun
    rank = next((os.environ[name] for name in launchers if name in os.environ), "0")
    return Console(file=cast(TextIO, LastingStream(sys.stdout)), quiet=rank != "0")


def _progress() -> Progress:
    """A bar for a person who watches; nothing in a file or a pipe."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
