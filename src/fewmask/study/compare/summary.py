"""What the rows of a comparison say together: means over draws with intervals, gains, and shares of the gap."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from fewmask.study.compare.costs import Cost
from fewmask.study.results import ResultRow
from fewmask.study.statistics import Estimate, estimate, gain, share_of_gap

ALL = "all"


class Line(NamedTuple):
    """A method with a number of masks, over its draws; scores are IoU in percent.

    Attributes:
        row: the name of the method in the comparison.
        labels: the masks, as the rows have them.
        num_masks: their number.
        miou: of the network that predicts, by split.
        gains: over the baseline with the same draws, by split; none for the baseline, and for other draws.
        gap: the share of the way from the baseline to all masks, by split; nan where there is no way.
        classes: mean IoU by split and class; None for a class that the split does not hold.
        steps: the steps of a run.
        minutes: mean time of a run.
        point_minutes: what a point of mIoU costs in minutes beyond those of the baseline, by split, where it is ahead.
        memory_gib: the highest peak; None if it was not measured.
        passes: passes of an image with and without gradient; None if they were not counted.
    """

    row: str
    labels: str
    num_masks: int
    miou: dict[str, Estimate]
    gains: dict[str, Estimate]
    gap: dict[str, float]
    classes: dict[str, dict[str, float | None]]
    steps: int
    minutes: float
    point_minutes: dict[str, float]
    memory_gib: float | None
    passes: tuple[float, float] | None


def summarize(
    rows: Sequence[ResultRow],
    baseline: str,
    num_masks: Mapping[str, int],
    costs: Mapping[str, Cost],
) -> list[Line]:
    """The lines of a comparison: the sets of masks by their size, and in each set the methods in the order of the rows.

    Args:
        rows: the results of one comparison.
        baseline: the name of the baseline's rows; with all masks, they are what full supervision gives.
        num_masks: the number of masks of a set, by its name in the rows.
        costs: what runs cost, by the name of the row.
    """
    groups: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.run.labels, row.row), []).append(row)
    best = groups.get((ALL, baseline), [])
    lines = []
    for (labels, name), own in groups.items():
        base = groups.get((labels, baseline), []) if name != baseline else []
        splits = list(dict.fromkeys(place.split for row in own for place in row.scores))
        miou = {split: _mean(own, split) for split in splits}
        gains = {split: value for split in splits if (value := _gain(own, base, split)) is not None}
        more = _minutes(own) - _minutes(base) if base else math.nan
        cost = costs.get(name)
        lines.append(
            Line(
                row=name,
                labels=labels,
                num_masks=num_masks.get(labels) or int(labels),
                miou={split: value for split, value in miou.items() if value is not None},
                gains=gains,
                gap={split: _gap(own, base, best, split) for split in splits if base and best},
                classes={split: _classes(own, split) for split in splits},
                steps=own[-1].run.steps,
                minutes=_minutes(own),
                point_minutes={split: more / found.mean for split, found in gains.items() if found.mean > 0},
                memory_gib=max((row.cost.memory_gib for row in own if row.cost.memory_gib), default=None),
                passes=None if cost is None or cost.failure else (cost.with_gradient, cost.without_gradient),
            )
        )
    order = list(dict.fromkeys(row.row for row in rows))
    return sorted(lines, key=lambda line: (line.num_masks, order.index(line.row)))


def by_draw(rows: Sequence[ResultRow], split: str, class_name: str = "") -> dict[tuple[str, int], float]:
    """The scores of the network that predicts, by draw and seed, which compared runs share.

    Raises:
        ValueError: two rows are of one draw, so they are of two settings.
    """
    if len({(row.run.draw, row.run.seed) for row in rows}) < len(rows):
        raise ValueError(f"two rows of one draw: {'; '.join(sorted({row.run.settings for row in rows}))}")
    scores = {}
    for row in rows:
        try:
            score = row.score(split, class_name=class_name)
        except KeyError:  # a run with every mask has no images without one
            continue
        if score is not None:
            scores[row.run.draw, row.run.seed] = score
    return scores


def _mean(rows: Sequence[ResultRow], split: str) -> Estimate | None:
    scores = by_draw(rows, split)
    return estimate(list(scores.values())) if scores else None


def _gain(rows: Sequence[ResultRow], baseline: Sequence[ResultRow], split: str) -> Estimate | None:
    ours, theirs = by_draw(rows, split), by_draw(baseline, split)
    return gain(ours, theirs) if ours.keys() & theirs.keys() else None


def _minutes(rows: Sequence[ResultRow]) -> float:
    return fmean(row.cost.seconds for row in rows) / 60


def _gap(rows: Sequence[ResultRow], baseline: Sequence[ResultRow], best: Sequence[ResultRow], split: str) -> float:
    """Over the draws whose seeds the runs with all masks have too."""
    ours, theirs = (by_draw(each, split) for each in (rows, baseline))
    most = {seed: score for (_, seed), score in by_draw(best, split).items()}
    shared = [draw for draw in ours.keys() & theirs.keys() if draw[1] in most]
    if not shared:
        return math.nan
    mean_ours, mean_theirs = (fmean(scores[draw] for draw in shared) for scores in (ours, theirs))
    return share_of_gap(mean_ours, mean_theirs, fmean(most[seed] for _, seed in shared))


def _classes(rows: Sequence[ResultRow], split: str) -> dict[str, float | None]:
    names = dict.fromkeys(place.class_name for row in rows for place in row.scores if place.split == split)
    scores = {name: list(by_draw(rows, split, name).values()) for name in names if name}
    return {name: fmean(values) if values else None for name, values in scores.items()}
