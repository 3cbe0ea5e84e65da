"""`fewmask convert`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console
from fewmask.errors import in_command
from fewmask.say import say


def convert(
    data: Annotated[Path, typer.Argument(help="A folder with images, and several masks an image or polygons.")],
    out: Annotated[Path, typer.Option(help="The data set to write; it must not exist.")],
    tasks: Annotated[
        Path | None, typer.Option(help="The JSON export of Label Studio, for masks named by tasks.")
    ] = None,
    ignore_rest: Annotated[
        bool, typer.Option("--ignore-rest", help="Ignore pixels that no label covers; else they are background.")
    ] = False,
) -> None:
    """Merge several masks an image, or polygons of COCO or YOLO, into a data set with one mask an image."""
    from fewmask.data.convert import convert as convert_folder

    made = convert_folder(data, out, tasks, ignore_rest)
    say(
        console(), f"{made.num_images} images, {made.num_masks} with a mask of {', '.join(made.classes.names)} -> {out}"
    )
    if made.told:
        say(console(), made.told)
    say(console(), f"Look at it: fewmask doctor {in_command(out)}")
