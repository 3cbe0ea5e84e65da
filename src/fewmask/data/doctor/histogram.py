"""How often each code stands in a mask, how often inside an area, and how often on an edge between two other codes."""

from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_REACH = 2  # pixels on each side in which two codes count as neighbors of what lies between them
_FEW_LEVELS = 256  # edges are looked at only in masks of gray levels or palette positions

Counts = NDArray[np.int64]


class Histogram(NamedTuple):
    """The codes of one mask, sorted, each with numbers of its pixels.

    Attributes:
        codes: the codes that occur.
        counts: all pixels of the code.
        inner: pixels whose four neighbors have the same code. A drawn area has many, a blended edge hardly any.
        between: pixels that are no inner ones, near a smaller code and near a larger one. A pixel that was interpolated
            stands so. Only for codes up to 255, otherwise 0.
    """

    codes: Counts
    counts: Counts
    inner: Counts
    between: Counts

    def mapped(self, table: dict[int, int]) -> "Histogram":
        """The histogram after every code is replaced by another; `between` then means nothing."""
        codes, place = np.unique([table[int(code)] for code in self.codes], return_inverse=True)
        counts, inner = (
            np.bincount(place, weights=old, minlength=len(codes)).astype(np.int64) for old in (self.counts, self.inner)
        )
        return Histogram(codes.astype(np.int64), counts, inner, np.zeros_like(counts))


def histogram(codes: NDArray[Any]) -> Histogram:
    """Counts the codes of a mask [h w]."""
    same_below, same_right = codes[1:] == codes[:-1], codes[:, 1:] == codes[:, :-1]
    inside = np.ones(codes.shape, dtype=bool)
    inside[1:] &= same_below
    inside[:-1] &= same_below
    inside[:, 1:] &= same_right
    inside[:, :-1] &= same_right
    if codes.dtype == np.uint8:
        found = np.flatnonzero(counts := np.bincount(codes.ravel(), minlength=256))
        inner = np.bincount(codes[inside], minlength=256)[found]
        between = np.zeros(len(found), dtype=np.int64)
        if len(found) > 2:
            between = np.bincount(codes[_is_between(codes) & ~inside], minlength=256)[found]
        return Histogram(found.astype(np.int64), counts[found], inner, between)
    found, counts, inner = _runs(codes.ravel().astype(np.int64), inside.ravel())
    return Histogram(found, counts, inner, np.zeros_like(counts))


def _runs(codes: Counts, inside: NDArray[np.bool_]) -> tuple[Counts, Counts, Counts]:
    """The same for any codes. Masks hold long runs of equal codes, so that there is little to sort."""
    starts = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    found, place = np.unique(codes[starts], return_inverse=True)
    lengths = np.diff(np.append(starts, len(codes)))
    inner_lengths = np.add.reduceat(inside.astype(np.int64), starts)
    counts, inner = (
        np.bincount(place, weights=weights, minlength=len(found)).astype(np.int64)
        for weights in (lengths, inner_lengths)
    )
    return found, counts, inner


def _is_between(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a smaller and a larger code stand in the square around a pixel."""
    least, most = codes, codes
    for axis in (0, 1):
        length = codes.shape[axis]
        wide = [(_REACH, _REACH) if axis == at else (0, 0) for at in (0, 1)]
        low, high = np.pad(least, wide, mode="edge"), np.pad(most, wide, mode="edge")
        parts = [(slice(None),) * axis + (slice(step, step + length),) for step in range(2 * _REACH + 1)]
        least, most = (
            reduce(join, (kept[part] for part in parts)) for join, kept in ((np.minimum, low), (np.maximum, high))
        )
    return (least < codes) & (codes < most)
