"""`fewmask report`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console, progress
from fewmask.say import say


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; the page is about the first one.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    split: Annotated[
        str | None,
        typer.Option(help="The split to score: val, test or train. Default: val, or test without masks there."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, max=500, help="The most images in the gallery.")] = 50,
    doctor: Annotated[
        bool | None,
        typer.Option("--doctor/--no-doctor", help="Have the doctor read every file. Default: up to 2000 images."),
    ] = None,
    device: Annotated[str, typer.Option(help="The device: auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Write one HTML page about a run: its score, what the unlabeled images gave, its worst images, its curves.

    A run with a baseline is compared with it. Otherwise name a second run to compare with.
    """
    from fewmask.report import write_report

    with progress() as bar:
        task = bar.add_task("scoring", total=None)
        write_report(runs, out, split, images, doctor, device, lambda total: bar.update(task, total=total, advance=1))
    say(console(), f"{out} ({out.stat().st_size / 1e6:.1f} MB)")
