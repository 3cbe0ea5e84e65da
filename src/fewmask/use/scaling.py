"""The way from the cells of a network to the pixels of the image, along one side, for any part of the image.

A network upsamples its logits from cells to the padded image with corners aligned. The padding is cut off, and
`Deployed` brings the rest to the size of the image without aligned corners. Both steps are linear, so a row of the
image is a sum of at most four rows of cells, and no other row is needed to compute it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Side(NamedTuple):
    """One side of an image, in the four units that it passes through.

    Attributes:
        cells: on the network's own grid, of the padded image.
        padded: pixels that the network sees, with padding.
        network: pixels that the network sees, without padding.
        image: pixels of the image itself.
    """

    cells: int
    padded: int
    network: int
    image: int

    @property
    def is_identity(self) -> bool:
        """Whether the cells, without those of the padding, are the pixels of the image."""
        return self.cells == self.padded and self.network == self.image

    def taps(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The cells that each pixel of the image is a sum of, and their weights: two arrays [4 image]."""
        outer, outer_share = _neighbors(_unaligned(self.image, self.network), self.network)
        inner, inner_share = _neighbors(_aligned(self.padded, self.cells), self.cells)
        places, weights = [], []
        for outer_place, outer_weight in zip(outer, outer_share, strict=True):
            for inner_place, inner_weight in zip(inner, inner_share, strict=True):
                places.append(inner_place[outer_place])
                weights.append(outer_weight * inner_weight[outer_place])
        return np.stack(places), np.stack(weights).astype(np.float32)


class Band(NamedTuple):
    """Rows of the image as sums of rows of cells: `matrix` [rows cells] times the cells from `first` on."""

    top: int
    bottom: int
    first: int
    matrix: NDArray[np.float32]


class Rows:
    """The rows of an image in order, as bands that can be computed when the cells above some row are known."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._places, self._weights = side.taps()
        self._first, self._last = self._places.min(axis=0), self._places.max(axis=0)

    def known(self, cells: int) -> int:
        """How many rows of the image follow from the first `cells` rows of cells."""
        return int(np.searchsorted(self._last, cells))

    def first_cell(self, row: int) -> int:
        """The first row of cells that `row` of the image needs; all cells for the row after the last."""
        return int(self._first[row]) if row < self.side.image else self.side.cells

    def bands(self, top: int, bottom: int, longest: int) -> list[Band]:
        """The rows from `top` to `bottom` in bands of at most `longest`."""
        return [self._band(start, min(start + longest, bottom)) for start in range(top, bottom, longest)]

    def _band(self, top: int, bottom: int) -> Band:
        places, weights = self._places[:, top:bottom], self._weights[:, top:bottom]
        first = int(places.min())
        matrix = np.zeros((bottom - top, int(places.max()) + 1 - first), np.float32)
        rows = np.broadcast_to(np.arange(bottom - top), places.shape)
        np.add.at(matrix, (rows, places - first), weights)
        return Band(top, bottom, first, matrix)


def _aligned(target: int, source: int) -> NDArray[np.float64]:
    positions: NDArray[np.float64] = np.arange(target, dtype=np.float64) * ((source - 1) / max(target - 1, 1))
    return positions


def _unaligned(target: int, source: int) -> NDArray[np.float64]:
    positions: NDArray[np.float64] = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
    return positions


def _neighbors(positions: NDArray[np.float64], length: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The two places around each position, and their shares: two arrays [2 positions]."""
    below = np.minimum(positions.astype(np.int64), length - 1)
    share = positions - below
    return np.stack([below, np.minimum(below + 1, length - 1)]), np.stack([1 - share, share])
