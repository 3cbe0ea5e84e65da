"""Tiles cover a side, lie on the stride, and their weights sum to 1; cells become pixels as torch brings them there."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn import functional as F

from fewmask.use.scaling import Rows, Side
from fewmask.use.tiles import tiles_of


@given(st.integers(1, 3000), st.integers(8, 700), st.integers(0, 300), st.sampled_from([1, 8, 32]))
@example(4512, 512, 128, 16)  # in floats, the last of its steps ends below its start
def test_tiles_cover_the_side_and_their_weights_sum_to_one(
    length: int, longest: int, overlap: int, stride: int
) -> None:
    tiles = tiles_of(length, longest, overlap, stride)
    assert tiles.starts[0] == 0
    assert tiles.starts[-1] + tiles.size == tiles.padded
    assert tiles.padded == -(-length // stride) * stride
    assert all(start % stride == 0 for start in (*tiles.starts, tiles.size))
    assert tiles.size <= max(longest // stride, 2) * stride
    total = np.zeros(tiles.padded)
    for start, weights in zip(tiles.starts, tiles.weights(tiles.size), strict=True):
        total[start : start + tiles.size] += weights
    assert np.allclose(total, 1, atol=1e-6)


def test_neighbors_share_what_was_asked_for_and_their_outer_quarters_have_no_weight() -> None:
    tiles = tiles_of(640, 256, 64, 32)
    assert tiles.starts == (0, 192, 384)
    assert tiles.overlap == 64
    first, middle, _ = tiles.weights(256)
    assert (first[:192] == 1).all()
    assert (first[-16:] == 0).all()
    assert (middle[:16] == 0).all()
    assert (np.diff(middle[16:48]) > 0).all()


@pytest.mark.parametrize("side", [Side(9, 36, 33, 50), Side(36, 36, 33, 33), Side(7, 28, 28, 14), Side(1, 8, 1, 3)])
def test_any_rows_are_those_of_the_whole_as_torch_resizes_it(side: Side) -> None:
    cells = torch.randn(1, 1, side.cells, 1, dtype=torch.float64)
    padded = F.interpolate(cells, (side.padded, 1), mode="bilinear", align_corners=True)
    whole = F.interpolate(padded[:, :, : side.network], (side.image, 1), mode="bilinear", align_corners=False)
    rows, found = Rows(side), []
    for band in rows.bands(0, side.image, 4):
        held = cells[0, 0, band.first : band.first + band.matrix.shape[1]].numpy()
        found.append(band.matrix @ held)
        assert rows.known(band.first + band.matrix.shape[1]) >= band.bottom
        assert rows.first_cell(band.top) <= band.first + band.matrix.shape[1]
    assert np.allclose(np.concatenate(found), whole[0, 0].numpy(), atol=1e-6)
