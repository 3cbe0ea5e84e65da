"""`fewmask export`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console
from fewmask.say import say


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    form: Annotated[str, typer.Option("--format", help="The format: onnx, torch, smp or safetensors.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="The file, or the folder for smp. Default: in RUN/export.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="onnx: also write a file in 8-bit integers.")] = False,
    images: Annotated[
        str | None, typer.Option(help="Images to check and calibrate with. Default: those of the run.")
    ] = None,
) -> None:
    """Write a finished model as a file that other programs run, and check that it gives the same.

    An ONNX file holds everything from the image to the probabilities, and `fewmask predict FILE.onnx IMAGES` runs it.
    """
    from fewmask.use.export.export import export_run

    out_console = console()
    export_run(run, form, out, int8, images, lambda text: say(out_console, text))
