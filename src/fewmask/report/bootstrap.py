"""Intervals of scores by bootstrap over images: how far a score would move with other images of the same kind.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993. A resample draws as many images as there are, with
replacement, and its score comes from one confusion matrix like the score itself. Two networks are compared on the same
resamples, so what is hard in an image does not widen the interval of their difference.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewmask.run.tallies import HITS, PREDICTED, TRUTH

RESAMPLES = 1000
LEVEL = 0.95
_CHUNK = 100  # resamples at once, so that many images need little memory
_FEWEST = 2  # images with a class, for an interval of the class


class Interval(NamedTuple):
    """A score or a difference, and the limits of its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether there is an interval."""
        return not np.isnan(self.low)

    @property
    def verdict(self) -> str:
        """`gained` or `lost` if the interval of a difference leaves out 0, else `unclear`."""
        return "gained" if self.low > 0 else "lost" if self.high < 0 else "unclear"


class Intervals(NamedTuple):
    """Intervals of the mIoU and of the IoU of every class; NaN for a class that the truth does not hold."""

    miou: Interval
    per_class: list[Interval]


class Resampled(NamedTuple):
    """The IoU of every class over all images [k], and in every resample [resamples k]; NaN without truth.

    `enough` [k] says which classes are in so many images that their interval means something.
    """

    exact: NDArray[np.float64]
    drawn: NDArray[np.float64]
    enough: NDArray[np.bool_]


def resampled(images: NDArray[np.int64], seed: int = 0) -> Resampled:
    """The IoUs of resamples of the counts [n 3 k] of a `Tally`; the draws depend on n and the seed alone."""
    generator, count = np.random.default_rng(seed), len(images)
    flat = images.reshape(count, -1).astype(np.float64)
    drawn = []
    for _ in range(0, RESAMPLES, _CHUNK):
        times = generator.multinomial(count, np.full(count, 1 / count), size=_CHUNK)
        drawn.append(iou((times @ flat).reshape(_CHUNK, *images.shape[1:])))
    enough = (images[:, TRUTH] > 0).sum(axis=0) >= _FEWEST
    return Resampled(iou(images.sum(axis=0)), np.concatenate(drawn), enough)


def intervals(scores: Resampled, minus: Resampled | None = None) -> Intervals:
    """The intervals of the scores, or of their differences to those of another network on the same images."""
    exact, drawn, enough = scores
    means, exact_mean = _mean(drawn), _mean(exact[None])[0]
    if minus is not None:
        exact, drawn = exact - minus.exact, drawn - minus.drawn
        means, exact_mean = means - _mean(minus.drawn), exact_mean - _mean(minus.exact[None])[0]
    few = not enough.any()
    per_class = [
        _interval(float(value), column if known else column[:0])
        for value, column, known in zip(exact, drawn.T, enough, strict=True)
    ]
    return Intervals(_interval(float(exact_mean), means[:0] if few else means), per_class)


def iou(counts: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """The IoU [... k] from counts [... 3 k]; NaN for a class that the truth does not hold."""
    hits, truth = counts[..., HITS, :], counts[..., TRUTH, :]
    union = truth + counts[..., PREDICTED, :] - hits
    return np.where(truth > 0, hits / np.maximum(union, 1), np.nan)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the classes that are there [n] of [n k]; NaN if none is."""
    there = ~np.isnan(values)
    found = there.sum(axis=1)
    return np.where(found > 0, np.where(there, values, 0).sum(axis=1) / np.maximum(found, 1), np.nan)


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    known = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(known):
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))
