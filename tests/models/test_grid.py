"""Maps on the grid of the features: by hand, against nearest interpolation, and with aligned corners."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.models.grid import on_coarse_grid, on_grid, pad, round_up
from fewmask.shapes import IGNORE


def numbered_pixels(height: int, width: int) -> Tensor:
    return torch.arange(2 * height * width).view(2, height, width)


def test_a_map_on_the_grid_by_hand() -> None:
    labels = torch.tensor([[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]])
    assert on_grid(labels, (2, 2), stride=2, fill=IGNORE).tolist() == [[[0, 2], [8, 10]]]
    assert on_grid(labels, (4, 4), stride=4, fill=IGNORE)[0, 3].tolist() == [IGNORE] * 4


@pytest.mark.parametrize("grid", [(5, 7), (3, 3), (16, 24), (40, 56)])
def test_a_map_on_the_grid_is_nearest_interpolation_of_the_padded_map(grid: tuple[int, int]) -> None:
    confidence = torch.rand(2, 37, 50)
    padded = F.pad(confidence, (0, 6, 0, 3), value=0.5)
    expected = F.interpolate(padded[:, None], grid, mode="nearest")[:, 0]
    assert torch.equal(on_grid(confidence, grid, stride=8, fill=0.5), expected)


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (10, 14), (40, 56)])
def test_with_aligned_corners_a_cell_takes_the_pixel_where_the_logits_put_it(grid: tuple[int, int]) -> None:
    """Logits of 0 but for one cell are highest, of all pixels that stand for a cell, at that cell's own."""
    rows, columns = grid
    pixel = on_grid(numbered_pixels(40, 56), grid, stride=8, fill=0, align_corners=True)[0]
    assert pixel[0, 0] == 0
    if rows > 1:
        assert pixel[-1, -1] == 40 * 56 - 1
    cells = F.one_hot(torch.arange(rows * columns)).view(rows * columns, 1, rows, columns).float()
    logits = F.interpolate(cells, (40, 56), mode="bilinear", align_corners=True).flatten(1)
    assert logits[:, pixel.flatten()].argmax(dim=1).tolist() == list(range(rows * columns))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16])
def test_a_map_on_the_grid_keeps_its_type(dtype: torch.dtype) -> None:
    sampled = on_grid(torch.ones(1, 5, 5).to(dtype), (2, 2), stride=4, fill=0)
    assert sampled.dtype == dtype
    assert sampled.tolist() == [[[1, 1], [1, 1]]]


def test_on_a_coarse_grid_features_and_labels_keep_together() -> None:
    labels = numbered_pixels(16, 24)
    features = labels[:, None].float()
    coarse, classes = on_coarse_grid(features, labels, stride=8, cell=4)
    assert classes.shape == (2, 4, 6)
    assert torch.equal(coarse[:, 0].long(), classes)


def test_padding_on_a_coarse_grid_is_ignored() -> None:
    _, classes = on_coarse_grid(torch.rand(1, 2, 2, 2), torch.zeros(1, 3, 5, dtype=torch.int64), stride=8, cell=4)
    assert classes.tolist() == [[[0, 0], [IGNORE, IGNORE]]]


@pytest.mark.parametrize(("length", "expected"), [(1, 8), (8, 8), (9, 16)])
def test_lengths_are_rounded_up_to_the_stride(length: int, expected: int) -> None:
    assert round_up(length, 8) == expected
    assert pad(torch.ones(1, length, 3), 8, fill=0).shape == (1, expected, 8)
