"""The tables of a report: scores of every class, the confusion matrix, how right the network is where it is sure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewmask.report.answer import in_percent
from fewmask.report.bootstrap import Interval, Intervals
from fewmask.run.tallies import BINS, COUNT, RIGHT, TRUTH, Tally

SURE = 0.9
MATRIX = 32
"""The most classes of which a page shows the whole confusion matrix."""
_MOST_CONFUSED = 8


class ClassRow(NamedTuple):
    """The scores of a class, in percent and points.

    Attributes:
        place: the number of the class.
        share: of the pixels with a label, in percent.
        num_images: how many images hold it.
        score: its IoU by the first run.
        baseline: its IoU by the second run; None without one.
        gain: the first minus the second; None without a second run.
    """

    place: int
    share: float
    num_images: int
    score: Interval
    baseline: Interval | None
    gain: Interval | None


def class_rows(tally: Tally, scores: Intervals, baseline: Intervals | None, gains: Intervals | None) -> list[ClassRow]:
    """A row for every class, in the order of the classes."""
    truth = tally.images[:, TRUTH]
    pixels = truth.sum(axis=0)
    return [
        ClassRow(
            place,
            100 * float(pixels[place] / max(pixels.sum(), 1)),
            int((truth[:, place] > 0).sum()),
            in_percent(score),
            None if baseline is None else in_percent(baseline.per_class[place]),
            None if gains is None else in_percent(gains.per_class[place]),
        )
        for place, score in enumerate(scores.per_class)
    ]


class Confused(NamedTuple):
    """Pixels of one class that are predicted as another one; `share` is of the pixels of the true class, in percent."""

    truth: int
    predicted: int
    share: float


class ConfusionTable(NamedTuple):
    """The confusion matrix in percent of each row, and the pairs confused most. A row without truth is None."""

    rows: list[list[float] | None]
    most: list[Confused]


def confusion_table(confusion: NDArray[np.int64]) -> ConfusionTable:
    """The table of a confusion matrix whose rows are the truth."""
    totals = confusion.sum(axis=1)
    shares = 100 * confusion / np.maximum(totals, 1)[:, None]
    pairs = [
        Confused(truth, predicted, float(shares[truth, predicted]))
        for truth, predicted in zip(*np.nonzero(confusion), strict=True)
        if truth != predicted
    ]
    most = sorted(pairs, key=lambda pair: -confusion[pair.truth, pair.predicted])[:_MOST_CONFUSED]
    rows = [row.tolist() if total else None for row, total in zip(shares, totals, strict=True)]
    return ConfusionTable(rows, sorted(most, key=lambda pair: -pair.share))


class ConfusedRow(NamedTuple):
    """What a class is taken for, the most frequent first; its recall is in percent."""

    truth: int
    recall: float
    most: list[Confused]


def confused_rows(confusion: NDArray[np.int64]) -> list[ConfusedRow]:
    """A row for every class that the truth holds, by the number of pixels that it loses to others."""
    totals, right = confusion.sum(axis=1), confusion.diagonal()
    order = [place for place in np.argsort(right - totals, kind="stable").tolist() if totals[place]]
    rows = []
    for truth in order:
        others = [place for place in np.argsort(-confusion[truth], kind="stable").tolist() if place != truth]
        most = [Confused(truth, place, 100 * float(confusion[truth, place] / totals[truth])) for place in others[:3]]
        kept = [pair for pair in most if pair.share > 0]
        rows.append(ConfusedRow(truth, 100 * float(right[truth] / totals[truth]), kept))
    return rows


class SureRow(NamedTuple):
    """What the predictions of a class are worth, in percent; None where nothing is predicted so.

    Attributes:
        place: the number of the class.
        right: the share of the pixels predicted as this class that are of it.
        sure: the share of them whose confidence is at least 0.9.
        right_if_sure: the share of these that are of the class.
    """

    place: int
    right: float | None
    sure: float | None
    right_if_sure: float | None


def sure_rows(tally: Tally) -> list[SureRow]:
    """A row for every class."""
    first = round(SURE * BINS)
    rows = []
    for place in range(len(tally.confusion)):
        count, right = (tally.sureness[which, place] for which in (COUNT, RIGHT))
        sure = int(count[first:].sum())
        rows.append(
            SureRow(
                place, _share(right.sum(), count.sum()), _share(sure, count.sum()), _share(right[first:].sum(), sure)
            )
        )
    return rows


class ReliabilityBin(NamedTuple):
    """A bin of confidence: its middle, the share of all pixels in it, and how many of these are right, in [0, 1]."""

    confidence: float
    share: float
    right: float


class Reliability(NamedTuple):
    """How well the confidence says how often the network is right; `error` is the mean gap of both, in points."""

    bins: list[ReliabilityBin]
    error: float


def reliability(tally: Tally) -> Reliability:
    """The expected calibration error (Guo et al., ICML 2017) and its bins, without bins that hold no pixel."""
    count, right = tally.sureness.sum(axis=1)
    total = max(int(count.sum()), 1)
    bins = [
        ReliabilityBin((place + 0.5) / BINS, int(count[place]) / total, int(right[place]) / int(count[place]))
        for place in range(BINS)
        if count[place]
    ]
    return Reliability(bins, 100 * sum(each.share * abs(each.right - each.confidence) for each in bins))


class NetworkRow(NamedTuple):
    """A network of a run, and its mIoU in percent."""

    title: str
    network: str
    is_shipped: bool
    score: Interval
    gain: Interval | None
    """Over the run that the report compares with; None for this run itself and without one."""


def mean_row(title: str, network: str, shipped: str, score: Intervals, gain: Intervals | None) -> NetworkRow:
    """The row of a network."""
    gained = None if gain is None else in_percent(gain.miou)
    return NetworkRow(title, network, network == shipped, in_percent(score.miou), gained)


def _share(part: int | np.int64, whole: int | np.int64) -> float | None:
    return 100 * int(part) / int(whole) if whole else None
