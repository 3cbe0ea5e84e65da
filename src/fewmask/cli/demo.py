"""`fewmask demo`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console
from fewmask.say import say


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the scenes, the two runs, picture and report.")] = Path("demo"),
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each method.")] = None,
) -> None:
    """Draw streets; train on 8 masks of the day alone, and with 200 photos from dusk to night too; compare."""
    from fewmask.report import write_report
    from fewmask.study.demo import METHODS, run_demo
    from fewmask.training.stopping import Interrupted

    try:
        run_demo(out, console(), steps)
    except Interrupted:
        say(console(), "Stopped, and saved. The same command goes on from here.")
        raise typer.Exit(130) from None
    page = write_report([out / method for method in reversed(METHODS)], out / "report.html", doctor=None)
    say(console(), f"Open {page} in a browser: whether the photos helped, class by class, and the worst scenes.")
