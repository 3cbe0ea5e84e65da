"""Overlapping tiles along one side of an image, with weights that blend them smoothly.

Tiles begin at multiples of the network's stride, so a tile lies on the same grid of cells as the whole image would.
Where two tiles overlap, the weight passes linearly from one to the other over the middle half of the overlap. The outer
quarters, which see the zeros at the border of a tile, have no weight. The weights of all tiles sum to 1 everywhere.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Tiles(NamedTuple):
    """Tiles along one side, in pixels.

    Attributes:
        starts: where each tile begins, multiples of the stride.
        size: the length of every tile, a multiple of the stride; the last one ends with the padded image.
        padded: the length of the side, rounded up to the stride.
    """

    starts: tuple[int, ...]
    size: int
    padded: int

    @property
    def overlap(self) -> int:
        """The smallest number of pixels that neighbors share; 0 for a single tile."""
        pairs = zip(self.starts, self.starts[1:], strict=False)
        return min((first + self.size - second for first, second in pairs), default=0)

    def weights(self, length: int) -> NDArray[np.float32]:
        """The weight of each cell of each tile [tiles cells], if a tile has `length` cells along this side."""
        cells = self.padded * length // self.size
        starts = [start * length // self.size for start in self.starts]
        raw = np.ones((len(starts), length))
        for index in range(len(starts) - 1):
            shared = starts[index] + length - starts[index + 1]
            rise = np.clip((np.arange(shared) + 0.5 - shared / 4) / (shared / 2), 0, 1)
            raw[index, length - shared :] *= 1 - rise
            raw[index + 1, :shared] *= rise
        total = np.zeros(cells)
        for start, weights in zip(starts, raw, strict=True):
            total[start : start + length] += weights
        return np.stack([w / total[s : s + length] for s, w in zip(starts, raw, strict=True)]).astype(np.float32)


def tiles_of(length: int, longest: int, overlap: int, stride: int) -> Tiles:
    """The fewest tiles that cover `length` pixels, all of one size.

    Args:
        length: of the side of the image.
        longest: the most pixels of a tile; rounded down to the stride, and at least twice the stride.
        overlap: the fewest pixels that neighbors share; rounded up to the stride, and at most half a tile.
        stride: the pixels of a cell of the network's coarsest grid.
    """
    padded = _round_up(length, stride)
    longest = max(longest // stride, 2) * stride
    if padded <= longest:
        return Tiles((0,), padded, padded)
    overlap = min(_round_up(overlap, stride), longest // 2 // stride * stride)
    count = math.ceil((padded - overlap) / (longest - overlap))
    size = _round_up(math.ceil((padded + (count - 1) * overlap) / count), stride)
    starts = (index * (padded - size) // (count - 1) // stride * stride for index in range(count))
    return Tiles(tuple(starts), size, padded)


def _round_up(length: int, stride: int) -> int:
    return -(-length // stride) * stride
