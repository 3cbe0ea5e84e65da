"""Result rows by what they are, and what several of them say together."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from fewmask.study.results import ResultRow, ResultTable
from fewmask.study.statistics import Estimate, gain
from table import read_table

BENCHMARKS = Path(__file__).parents[1]

Draw = tuple[str, str, int]
"""Number of masks, name of the draw, seed: what two compared runs share."""

Rows = Sequence[ResultRow]


def load(name: str) -> list[ResultRow]:
    """The trained runs of benchmarks/NAME.csv."""
    return ResultTable(BENCHMARKS / f"{name}.csv").rows()


def measurements(name: str) -> list[dict[str, str]]:
    """The rows of benchmarks/NAME.csv, of measurements that are no trained runs."""
    return read_table(BENCHMARKS / f"{name}.csv")


def select(rows: Rows, **wanted: Any) -> list[ResultRow]:
    """Those whose `row` or fields of the run have these values."""
    return [row for row in rows if all(_value(row, name) == value for name, value in wanted.items())]


def _value(row: ResultRow, name: str) -> Any:
    return row.row if name == "row" else getattr(row.run, name)


def by_draw(rows: Rows, split: str, class_name: str = "", network: str = "") -> dict[Draw, float]:
    """The scores of one setting, by draw; of the network that predicts unless another is named.

    Raises:
        ValueError: there is no row, or two rows of one draw: they would be of two settings.
    """
    scores = {(row.run.labels, row.run.draw, row.run.seed): row.score(split, network, class_name) for row in rows}
    if not rows or len(scores) != len(rows):
        found = "; ".join(sorted({f"{row.row} {row.run.variant} {row.run.settings}" for row in rows}))
        raise ValueError(f"{len(rows)} rows of {len(scores)} draws: {found}")
    return {draw: score for draw, score in scores.items() if score is not None}


def mean(rows: Rows, split: str, class_name: str = "") -> float:
    """Over the draws."""
    return fmean(by_draw(rows, split, class_name).values())


def gain_over(ours: Rows, baseline: Rows, split: str) -> Estimate:
    """The mean difference over the draws that both have."""
    return gain(by_draw(ours, split), by_draw(baseline, split))


def mean_of_settings(settings: Iterable[Rows], split: str) -> dict[Draw, float]:
    """The mean of several settings, by draw; each has the same draws."""
    each = [by_draw(rows, split) for rows in settings]
    return {draw: fmean(scores[draw] for scores in each) for draw in each[0]}


def gain_of_mean(settings: Iterable[Rows], baseline: Rows, split: str) -> Estimate:
    """How far the mean of several settings is ahead of one baseline."""
    return gain(mean_of_settings(settings, split), by_draw(baseline, split))


def has(rows: Rows, split: str) -> bool:
    """Whether every one of the rows has a score of the split."""
    return all(any(place.split == split for place in row.scores) for row in rows)


Values = Mapping[str, str]
"""The texts that templates name."""
