"""Predicts a picture of any size from top to bottom, in memory that does not grow with the picture.

A small picture goes through the network as a whole, like in training and scoring. A large one is cut into overlapping
tiles. Their scores are blended on the network's own grid of cells, and only then brought to the size of the picture. So
away from the borders of tiles the result is that of the whole picture, as far as the network looks.

What stays in memory is one row of tiles, as pixels and as blended scores. The wider a picture is, the lower are its
tiles.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.size import target_size
from fewmask.use.network import PLAIN, Maps, Network, View
from fewmask.use.raster import Source
from fewmask.use.raster.source import WholeSource
from fewmask.use.scaling import Rows, Side
from fewmask.use.tiles import Tiles, tiles_of

_TOGETHER = 2**20
"""Pixels of training size that go through a network together."""
_ROW = 2**26
"""Bytes that a row of tiles takes, as pixels and as scores."""
_BAND = 2**20
"""Pixels of a band that is resized at once."""
_WHOLE = 1.5
"""A picture is not cut if it has at most the pixels of a square with so many times the side of a tile."""


class Way(NamedTuple):
    """How pictures are predicted.

    Attributes:
        tile: the longest side of a tile in pixels of training size. A picture with no more pixels than a square of
            1.5 times this side is not cut.
        overlap: the fewest pixels that neighboring tiles share.
        views: what the network sees of each tile; several are averaged.
        entropy: whether the entropy of the classes is computed.
    """

    tile: int = 1024
    overlap: int = 128
    views: Sequence[View] = PLAIN
    entropy: bool = False


class Plan:
    """How a picture of one size passes through a network: its tiles, and the way from cells to pixels."""

    def __init__(self, network: Network, size: tuple[int, int], way: Way) -> None:
        self.network, self.size, self.way = network, size, way
        self.seen = target_size(size, network.resize)
        stride = network.stride
        per_stride = network.cells_per_stride if tuple(way.views) == PLAIN else None
        self.on_cells = per_stride is not None
        cells = per_stride or stride
        num_classes = len(network.classes)
        room = network.memory * 2 * stride**2 // (num_classes * cells**2)
        if self.seen[0] * self.seen[1] <= min((_WHOLE * way.tile) ** 2, room):
            longest_row = longest_column = max(self.seen) + stride
        else:
            longest_column = min(way.tile, int(room**0.5))
            of_pixels = 3 * self.seen[1]
            of_scores = 4 * num_classes * -(-self.seen[1] // stride) * cells**2 // stride
            fitting = _ROW // (of_pixels + of_scores)
            longest_row = min(longest_column, max(fitting, 2 * way.overlap, 2 * stride))
        self.down = tiles_of(self.seen[0], longest_row, way.overlap, stride)
        self.across = tiles_of(self.seen[1], longest_column, way.overlap, stride)
        self.tile_cells = (self.down.size * cells // stride, self.across.size * cells // stride)
        self.rows = Rows(self._side(0, self.down, cells))
        self.columns = self._side(1, self.across, cells)
        self.cells, self.stride = cells, stride

    @property
    def is_whole(self) -> bool:
        """Whether the picture is not cut."""
        return len(self.down.starts) == len(self.across.starts) == 1

    @property
    def together(self) -> int:
        """How many tiles, or whole pictures of this size, go through the network at once."""
        return max(1, _TOGETHER // (self.down.size * self.across.size * len(self.way.views)))

    def scores(self, images: NDArray[np.uint8]) -> Any:
        """The scores of tiles [b h w 3]."""
        return self.network.scores(images, self.way.views, None if self.on_cells else self.tile_cells)

    def maps(self, cells: Any, first: int, top: int, bottom: int) -> Iterator[Maps]:
        """The prediction for rows of the picture, from the rows of cells [k cells cells] that begin with `first`."""
        longest = max(1, self.network.band // (len(self.network.classes) * self.size[1]))
        for band in self.rows.bands(top, bottom, longest):
            held = cells[:, band.first - first :]
            if self.rows.side.is_identity:
                rows = held[:, : band.bottom - band.top]
            else:
                rows = self.network.own(band.matrix) @ held[:, : band.matrix.shape[1]]
            yield self.network.maps(rows, self.columns, self.way.entropy)

    def _side(self, axis: int, tiles: Tiles, cells: int) -> Side:
        return Side(tiles.padded * cells // self.network.stride, tiles.padded, self.seen[axis], self.size[axis])


def predict_together(network: Network, pictures: Sequence[NDArray[np.uint8]], plan: Plan) -> Iterator[Iterator[Maps]]:
    """The prediction for each of several whole pictures of one size, as bands from top to bottom."""
    images = np.stack([pixels if plan.seen == plan.size else network.resized(pixels, plan.seen) for pixels in pictures])
    for cells in plan.scores(images):
        yield plan.maps(cells, 0, 0, plan.size[0])


def predict_in_tiles(network: Network, source: Source, plan: Plan) -> Iterator[Maps]:
    """The prediction for a picture that is cut, as bands from top to bottom; the picture is read once."""
    shown = _Shown(network, source, plan.seen)
    unit = plan.cells, plan.stride
    down_weights = plan.down.weights(plan.tile_cells[0])
    cells = network.blank((len(network.classes), 0, plan.columns.cells))
    first, done = 0, 0
    for index, start in enumerate(plan.down.starts):
        strip = shown.rows(start, min(start + plan.down.size, plan.seen[0]))
        begin = start * unit[0] // unit[1]
        cells = _copied(network, cells, begin + plan.tile_cells[0] - first)
        _add_tiles(cells[:, begin - first :], strip, down_weights[index], plan)
        is_last = index + 1 == len(plan.down.starts)
        final = plan.rows.side.cells if is_last else plan.down.starts[index + 1] * unit[0] // unit[1]
        known = plan.rows.known(final)
        yield from plan.maps(cells, first, done, known)
        kept = min(plan.rows.first_cell(known), final)
        cells = _copied(network, cells[:, kept - first :])  # a copy, so that the memory of the others is free
        first, done = kept, known


def _copied(network: Network, cells: Any, length: int | None = None) -> Any:
    """A copy of rows of cells [k rows cells], with zeros below up to `length` rows."""
    copy = network.blank((cells.shape[0], length or cells.shape[1], cells.shape[2]))
    copy[:, : cells.shape[1]] = cells
    return copy


def _add_tiles(row: Any, strip: NDArray[np.uint8], down_weights: NDArray[np.float32], plan: Plan) -> None:
    """Adds the weighted scores of a row of tiles; tiles of one size go through the network together."""
    across_weights = plan.across.weights(plan.tile_cells[1])
    cut = [strip[:, start : min(start + plan.across.size, plan.seen[1])] for start in plan.across.starts]
    place = 0
    while place < len(cut):
        group = [tile for tile in cut[place : place + plan.together] if tile.shape == cut[place].shape]
        for scores in plan.scores(np.stack(group)):
            left = plan.across.starts[place] * plan.cells // plan.stride
            weights = plan.network.own(down_weights[:, None] * across_weights[place])
            row[:, :, left : left + plan.tile_cells[1]] += scores * weights
            place += 1


class _Shown:
    """The rows of a picture as the network sees them: resized, from top to bottom."""

    def __init__(self, network: Network, source: Source, size: tuple[int, int]) -> None:
        self._source, self._size = source, size
        self._held, self._top, self._end = np.empty((0, size[1], 3), np.uint8), 0, 0
        if isinstance(source, WholeSource) and (source.height, source.width) != size:
            self._source = WholeSource(network.resized(source.pixels, size))

    def rows(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """The rows from `top` to `bottom`; a later call begins further down, and its rows take the place of these."""
        known = self._held[top - self._top : self._end - self._top]
        if len(self._held) < bottom - top:
            self._held = np.empty((bottom - top, self._size[1], 3), np.uint8)
        self._held[: len(known)] = known
        longest = max(1, _BAND * self._size[0] // (self._source.height * self._source.width))
        while self._end < bottom:
            end = min(self._end + longest, bottom)
            self._held[self._end - top : end - top] = self._read(self._end, end)
            self._end = end
        self._top = top
        return self._held[: bottom - top]

    def _read(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """Rows of training size. Pillow resizes a part of a picture exactly as the whole if it sees what is around."""
        source, (height, width) = self._source, self._size
        if (source.height, source.width) == (height, width):
            return source.rows(top, bottom)
        scale = source.height / height
        around = max(scale, 1) + 1
        first, last = max(0, int(top * scale - around)), min(source.height, int(bottom * scale + around) + 1)
        box = (0, top * scale - first, source.width, min(bottom * scale, source.height) - first)
        part = Image.fromarray(source.rows(first, last))
        return np.asarray(part.resize((width, bottom - top), Image.Resampling.BILINEAR, box=box))
