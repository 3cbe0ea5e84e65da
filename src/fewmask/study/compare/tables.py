"""The tables of a comparison: for a terminal, as CSV and as Markdown."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fewmask.errors import printable
from fewmask.run.atomic import write_text
from fewmask.study.compare.summary import ALL, Line
from fewmask.study.statistics import Estimate

_NAMES = {"unlabeled": "own images"}
_SPLITS = ("test", "val", "unlabeled")
_CSV = (
    *("method", "labels", "masks", "split", "draws", "miou", "low", "high", "gain", "gain_low", "gain_high"),
    *("share_of_gap", "steps", "minutes", "minutes_a_point", "memory_gib"),
    *("passes_with_gradient", "passes_without_gradient"),
)


def score_table(lines: Sequence[Line], scored: str) -> list[list[str]]:
    """The header and a line for each method and set of masks: means with half of their 95 % intervals, and gains."""
    others = [split for split in _SPLITS if split != scored and any(split in line.miou for line in lines)]
    header = [
        "method",
        "masks",
        scored,
        "gain",
        "of the gap",
        *(f"{_NAMES.get(split, split)} (gain)" for split in others),
    ]
    return [header, *(_score_line(line, scored, others) for line in lines)]


def _score_line(line: Line, scored: str, others: Sequence[str]) -> list[str]:
    return [
        line.row,
        _masks(line),
        _interval(line.miou.get(scored)),
        _interval(line.gains.get(scored), signed=True),
        _share(line.gap.get(scored, math.nan)),
        *(_with_gain(line, split) for split in others),
    ]


def cost_table(lines: Sequence[Line], scored: str) -> list[list[str]]:
    """The header and a line for each method and set of masks: what one run cost."""
    header = ["method", "masks", "draws", "steps", "minutes", "a point", "GiB", "passes with", "without gradient"]
    return [header, *(_cost_line(line, scored) for line in lines)]


def _cost_line(line: Line, scored: str) -> list[str]:
    own = line.miou.get(scored)
    return [
        line.row,
        _masks(line),
        "" if own is None else str(own.num_draws),
        str(line.steps),
        f"{line.minutes:.1f}",
        f"{line.point_minutes[scored]:.1f}" if scored in line.point_minutes else "",
        "" if line.memory_gib is None else f"{line.memory_gib:.1f}",
        *("" if line.passes is None else f"{passes:.0f}" for passes in line.passes or (0, 0)),
    ]


def _masks(line: Line) -> str:
    return f"{line.num_masks}, {ALL}" if line.labels == ALL else str(line.num_masks)


def class_table(lines: Sequence[Line], scored: str) -> list[list[str]]:
    """The header and a line for each method and set of masks: the mean IoU of every class on the scored split."""
    names = list(dict.fromkeys(name for line in lines for name in line.classes.get(scored, {})))
    body = [
        [line.row, _masks(line), *(_score(line.classes.get(scored, {}).get(name)) for name in names)] for line in lines
    ]
    return [["method", "masks", *names], *body]


def print_tables(lines: Sequence[Line], scored: str, failures: Mapping[str, str], console: Console) -> None:
    """Prints what came of the comparison."""
    for title, cells in titled_tables(lines, scored):
        table = Table(title=title, title_justify="left")
        for place, name in enumerate(cells[0]):
            table.add_column(escape(printable(name)), justify="right" if place else "left", no_wrap=not place)
        for row in cells[1:]:
            table.add_row(*(escape(printable(cell)) for cell in row))
        console.print(table)
    for name, why in failures.items():
        console.print(f"Failed: {printable(name)}: {printable(why)}", style="red", markup=False, soft_wrap=True)


def write_tables(lines: Sequence[Line], scored: str, failures: Mapping[str, str], folder: Path) -> None:
    """Writes table.csv, table.md and failures.csv into the folder."""
    names = list(dict.fromkeys(name for line in lines for classes in line.classes.values() for name in classes))
    write_text(folder / "table.csv", _csv_text([*_CSV, *(f"iou/{name}" for name in names)], _csv_lines(lines, names)))
    write_text(folder / "failures.csv", _csv_text(["run", "failure"], failures.items()))
    write_text(folder / "table.md", page(lines, scored, failures))


def page(lines: Sequence[Line], scored: str, failures: Mapping[str, str]) -> str:
    """The comparison as Markdown."""
    parts = [f"{title}.\n\n{markdown(cells)}" for title, cells in titled_tables(lines, scored)]
    if failures:
        parts += ["These runs failed:", "\n".join(f"- `{name}`: {why}" for name, why in failures.items())]
    return "\n\n".join(parts) + "\n"


def titled_tables(lines: Sequence[Line], scored: str) -> list[tuple[str, list[list[str]]]]:
    """The tables of scores, of classes and of costs, each with a sentence that says what it holds."""
    return [
        (
            f"mIoU on {scored} in percent over the draws, ± half of the 95 % interval. Gains are over the baseline "
            "with the same draws, and shares are of its gap to all masks",
            score_table(lines, scored),
        ),
        (f"IoU of every class on {scored}", class_table(lines, scored)),
        (
            "The cost of a run. The column of a point has the minutes that a point of mIoU costs, both beyond the "
            "baseline. A pass is that of one image through a network",
            cost_table(lines, scored),
        ),
    ]


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """A Markdown table of a header and lines."""
    ruled = [cells[0], ["---", *["---:"] * (len(cells[0]) - 1)], *cells[1:]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in ruled)


def _csv_lines(lines: Sequence[Line], names: Sequence[str]) -> Iterator[list[str]]:
    for line in lines:
        for split, own in line.miou.items():
            gain = line.gains.get(split, Estimate(math.nan, math.nan, math.nan, 0))
            passes = line.passes or (math.nan, math.nan)
            memory = math.nan if line.memory_gib is None else line.memory_gib
            point = line.point_minutes.get(split, math.nan)
            numbers = (line.gap.get(split, math.nan), line.steps, line.minutes, point, memory, *passes)
            yield [
                *(line.row, line.labels, str(line.num_masks), split, str(own.num_draws)),
                *(_number(value) for value in (*own[:3], *gain[:3], *numbers)),
                *(_number(line.classes[split].get(name)) for name in names),
            ]


def _csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def _number(value: float | None) -> str:
    """Four digits; nothing for what does not exist."""
    return "" if value is None or math.isnan(value) else f"{value:.2f}" if isinstance(value, float) else str(value)


def _interval(value: Estimate | None, signed: bool = False) -> str:
    if value is None:
        return ""
    form = "+.1f" if signed else ".1f"
    ends = "" if math.isnan(value.low) else f" ± {value.high - value.mean:.1f}"
    return f"{value.mean:{form}}{ends}"


def _with_gain(line: Line, split: str) -> str:
    own, gained = line.miou.get(split), line.gains.get(split)
    return "" if own is None else f"{own.mean:.1f}" + ("" if gained is None else f" ({gained.mean:+.1f})")


def _share(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.0f} %"


def _score(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1f}"
