"""`fewmask evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console, progress


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    split: Annotated[
        str, typer.Option(help="The split: val, test, train, or unlabeled: train images whose masks were hidden.")
    ] = "val",
    data: Annotated[Path | None, typer.Option(help="Another dataset folder with the same classes.")] = None,
    also: Annotated[
        list[Path] | None, typer.Option(help="A further run folder; the runs predict together. It may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    device: Annotated[str, typer.Option(help="The device: auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Score a trained model by one confusion matrix over the whole split, at full label size."""
    from fewmask.use.model import load
    from fewmask.use.tables import print_scores

    model = load(run, device, also=also or [])
    with progress() as bar:
        task = bar.add_task("scoring", total=None)
        scores = model.evaluate(split, lambda total: bar.update(task, total=total, advance=1), data)
    if as_json:
        typer.echo(json.dumps(scores))
    else:
        print_scores(scores, console())
