"""`fewmask demo`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console
from fewmask.say import say


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the scenes, the two runs and the picture.")] = Path("demo"),
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each method.")] = None,
) -> None:
    """Draw streets; train with 8 masks of the day and 200 photos from dusk to night, and with the masks alone."""
    from fewmask.study.demo import run_demo
    from fewmask.training.stopping import Interrupted

    try:
        run_demo(out, console(), steps)
    except Interrupted:
        say(console(), "Stopped, and saved. The same command goes on from here.")
        raise typer.Exit(130) from None
