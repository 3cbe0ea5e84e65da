"""The scores of folds as means with their intervals, per class, and what the method gave over its baseline."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fewmask.recipe import Recipe
from fewmask.say import say
from fewmask.study.statistics import Estimate, estimate

Scores = Mapping[str, Any]


def means_of(ours: Sequence[Scores], theirs: Sequence[Scores] = ()) -> dict[str, Any]:
    """Means over the folds with their intervals, for a JSON file.

    Args:
        ours: what `Model.evaluate` returned for each fold.
        theirs: the same for the baseline of each fold; empty without a baseline.

    Returns:
        `folds` (their number), `images` (the number in each), and `method`; with a baseline also `baseline` and `gain`.
        Each of these has `miou` and `per_class`, of `mean`, `low`, `high`, and `folds`, the values themselves. IoU is
        in [0, 1], and a gain is ours minus the baseline's in the same fold. A class that no fold holds is None; one
        that a single fold holds has no interval.
    """
    found: dict[str, Any] = {"folds": len(ours), "images": [scores["images"] for scores in ours]}
    columns = {"method": [_values(scores) for scores in ours]}
    if theirs:
        columns["baseline"] = [_values(scores) for scores in theirs]
        columns["gain"] = [_differences(*pair) for pair in zip(columns["method"], columns["baseline"], strict=True)]
    for name, values in columns.items():
        mean = {label: _mean([fold[label] for fold in values]) for label in values[0]}
        found[name] = {"miou": mean.pop(_MEAN), "per_class": mean}
    return found


def print_means(recipe: Recipe, means: Mapping[str, Any], console: Console) -> None:
    """Prints the means as a table, and what they say about the method."""
    headings = {"baseline": recipe.method_type.baseline or "", "method": recipe.method.name, "gain": "gain"}
    columns = {heading: means[key] for key, heading in headings.items() if key in means}
    images = sum(means["images"])
    say(
        console,
        f"IoU in percent over {means['folds']} folds of {images} labeled images: mean ± half of the 95 % interval",
    )
    table = Table()
    table.add_column("class")
    for heading in columns:
        table.add_column(heading, justify="right")
    for label in means["method"]["per_class"]:
        cells = [_cell(column["per_class"][label], heading == "gain") for heading, column in columns.items()]
        table.add_row(escape(label), *cells)
    table.add_section()
    cells = [_cell(column["miou"], heading == "gain") for heading, column in columns.items()]
    table.add_row("mean (mIoU)", *cells, style="bold")
    console.print(table)
    if "gain" in means and means["gain"]["miou"] is not None:
        _say_gain(recipe, means["gain"]["miou"], console)


def _say_gain(recipe: Recipe, miou: Mapping[str, Any], console: Console) -> None:
    mean, low, high = (100 * miou[key] for key in ("mean", "low", "high"))
    gain = Estimate(mean, low, high, len(miou["folds"]))
    what = recipe.method_type.advantage(recipe.method)
    what = what[0].upper() + what[1:]
    amount = f"{abs(gain.mean):.1f} points of mIoU ({gain.low:+.1f} to {gain.high:+.1f})"
    if gain.mean < 0:
        advice = f"Train with --method {recipe.method_type.baseline}"
        reason = "." if gain.certain else ", or label more images: this may be chance."
        say(console, f"{what} cost {amount}. {advice}{reason}", style="red")
    else:
        say(console, f"{what} gave {amount}{'.' if gain.certain else ', which may be chance.'}")


_MEAN = ""  # the name of the mean beside those of the classes


def _values(scores: Scores) -> dict[str, float | None]:
    return {_MEAN: scores["miou"], **scores["per_class"]}


def _differences(ours: Mapping[str, float | None], theirs: Mapping[str, float | None]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for label, mine in ours.items():
        other = theirs[label]
        found[label] = None if mine is None or other is None else mine - other
    return found


def _mean(values: Sequence[float | None]) -> dict[str, Any] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = estimate(known)
    has_interval = len(known) > 1
    return {
        "mean": mean.mean,
        "low": mean.low if has_interval else None,
        "high": mean.high if has_interval else None,
        "folds": list(values),
    }


def _cell(mean: Mapping[str, Any] | None, is_gain: bool) -> str:
    """`47.2 ± 6.1`, where the second number is half of the interval."""
    if mean is None:
        return "n/a"
    text = f"{100 * mean['mean']:{'+' if is_gain else ''}.1f}"
    return f"{text} (one fold)" if mean["low"] is None else f"{text} ± {100 * (mean['high'] - mean['mean']):.1f}"
