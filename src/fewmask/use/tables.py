"""Prints scores as tables for a person."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fewmask.say import say


def print_scores(scores: Mapping[str, Any], console: Console) -> None:
    """Prints the IoU of every class by every network, in percent."""
    title = f"IoU on {scores['split']}, {scores['images']} images; the {scores['predictor']} predicts"
    print_columns(title, {name: scores[name] for name in scores["networks"]}, console)
    print_selected(scores, console)


def print_selected(scores: Mapping[str, Any], console: Console) -> None:
    """Prints which step val has selected for a run, if val has selected one."""
    if scores["selected"]:
        chosen = "The networks are those of step {step} of {of}, the best on val.".format(**scores["selected"])
        say(console, chosen + (" Scores on val flatter them." if scores["split"] == "val" else ""))


def print_columns(title: str, columns: Mapping[str, Mapping[str, Any]], console: Console, gain: bool = False) -> None:
    """Prints one column per scored model and one row per class; with `gain`, also the last column minus the first."""
    say(console, title)
    table = Table()
    table.add_column("class")
    for name in columns:
        table.add_column(escape(name), justify="right")
    if gain:
        table.add_column("gain", justify="right")
    scores = list(columns.values())
    for label in scores[0]["per_class"]:
        table.add_row(*_row(label, [column["per_class"][label] for column in scores], gain))
    table.add_section()
    table.add_row(*_row("mean (mIoU)", [column["miou"] for column in scores], gain), style="bold")
    console.print(table)


def _row(label: str, values: list[float | None], gain: bool) -> list[str]:
    cells = [escape(label), *("n/a" if value is None else f"{100 * value:.1f}" for value in values)]
    first, last = values[0], values[-1]
    if gain:
        cells.append("" if first is None or last is None else _signed(100 * (last - first)))
    return cells


def _signed(difference: float) -> str:
    return f"[green]+{difference:.1f}" if difference >= 0 else f"[red]{difference:.1f}"
