"""Means over draws with their 95 % intervals, and gains over a baseline with the same draws."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

_LEVEL = 0.95


class Estimate(NamedTuple):
    """A mean over draws with its interval; a single draw has no interval (nan)."""

    mean: float
    low: float
    high: float
    num_draws: int

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def estimate(values: Sequence[float], level: float = _LEVEL) -> Estimate:
    """The mean of the values with the interval of Student's t.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a mean needs a value")
    mean, count = fmean(values), len(values)
    if count == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    reach = t_quantile(count - 1, level) * stdev(values) / math.sqrt(count)
    return Estimate(mean, mean - reach, mean + reach, count)


def gain(ours: Mapping[Any, float], baseline: Mapping[Any, float], level: float = _LEVEL) -> Estimate:
    """The mean difference over the draws that both have; what both share in a draw does not widen the interval.

    Raises:
        ValueError: they have no draw in common.
    """
    return estimate(differences(ours, baseline), level)


def differences(ours: Mapping[Any, float], baseline: Mapping[Any, float]) -> list[float]:
    """Ours minus the baseline, for each draw that both have."""
    return [score - baseline[draw] for draw, score in ours.items() if draw in baseline]


def share_of_gap(ours: float, baseline: float, best: float) -> float:
    """The share of the way from the baseline to the best, e.g. training with every mask; nan if there is no way."""
    return (ours - baseline) / (best - baseline) if best > baseline else math.nan


def t_quantile(freedom: int, level: float = _LEVEL) -> float:
    """The t for which |T| < t has the probability `level`, found by bisection of `t_probability`."""
    low, high = 0.0, 1.0
    while t_probability(high, freedom) < level:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, freedom) < level else (low, middle)
    return high


def t_probability(t: float, freedom: int) -> float:
    """P(|T| < t) of Student's distribution with a whole number of degrees of freedom.

    The finite sums 26.7.3 and 26.7.4 of Abramowitz and Stegun, Handbook of Mathematical Functions, 1964.
    """
    angle = math.atan(t / math.sqrt(freedom))
    is_odd = freedom % 2
    term = math.cos(angle) if is_odd else 1.0
    total = 0.0
    for power in range(2 + is_odd, freedom + 1, 2):  # each term is the term before times cos² (power - 1) / power
        total += term
        term *= math.cos(angle) ** 2 * (power - 1) / power
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if is_odd else total
