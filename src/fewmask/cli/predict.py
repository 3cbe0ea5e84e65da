"""`fewmask predict`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console, progress
from fewmask.say import say


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    images: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    out: Annotated[Path, typer.Option(help="The folder for masks, overlays and confidence.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    device: Annotated[str, typer.Option(help="The device: auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Write an index mask with palette, an overlay, and the confidence for every image."""
    from fewmask.use.model import load
    from fewmask.use.predict import predict_files

    model = load(run, device)
    with progress() as bar:
        task = bar.add_task("predicting", total=None)
        count = predict_files(model, images, out, force, lambda total: bar.update(task, total=total, advance=1))
    say(console(), f"{count} image{'' if count == 1 else 's'} -> {out}/masks, {out}/overlays, {out}/confidence")
