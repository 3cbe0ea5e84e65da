"""Warps compose before they are sampled: exact for flips and shifts, and against a loop over pixels."""

import math

import pytest
import torch
from torch import Tensor

from fewmask.ops.warp import Warp, flipped, no_warp, placed, sample_nearest, sample_smooth, sampling_grid, scaled

CPU = torch.device("cpu")


def maps_of(num_images: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Random smooth maps, and whole numbers from 1 on."""
    return torch.rand(num_images, 2, height, width), torch.randint(1, 256, (num_images, 1, height, width))


def warp_of(*factors: tuple[float, float], shift: tuple[float, float] = (0.0, 0.0)) -> Warp:
    return Warp(torch.tensor(factors), torch.tensor([shift] * len(factors)))


def random_warp(num_images: int, scale_range: tuple[float, float] = (0.5, 2.0), probability: float = 1.0) -> Warp:
    return placed(flipped(scaled(no_warp(num_images, CPU), probability, scale_range), 0.5))


def sampled(warp: Warp, smooth: Tensor, whole: Tensor, size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    height, width = smooth.shape[-2:]
    grid = sampling_grid(warp, size or (height, width))
    return sample_smooth(grid, smooth), sample_nearest(grid, whole)


def literal_sampling(
    warp: Warp, smooth: Tensor, whole: Tensor, size: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """Every output pixel on its own: where it comes from, then two-fold linear interpolation, and the nearest value."""
    num_images, channels, height, width = smooth.shape
    rows, columns = size or (height, width)
    moved, nearest = torch.zeros(num_images, channels, rows, columns), torch.zeros(num_images, 1, rows, columns).long()
    for image in range(num_images):
        for row in range(rows):
            for column in range(columns):
                x = ((2 * column + 1) / columns - 1) * float(warp.factor[image, 0]) + float(warp.shift[image, 0])
                y = ((2 * row + 1) / rows - 1) * float(warp.factor[image, 1]) + float(warp.shift[image, 1])
                x, y = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
                for near_y in (math.floor(y), math.floor(y) + 1):
                    for near_x in (math.floor(x), math.floor(x) + 1):
                        if 0 <= near_y < height and 0 <= near_x < width:
                            share = (1 - abs(y - near_y)) * (1 - abs(x - near_x))
                            moved[image, :, row, column] += share * smooth[image, :, near_y, near_x]
                if 0 <= round(y) < height and 0 <= round(x) < width:
                    nearest[image, 0, row, column] = whole[image, 0, round(y), round(x)]
    return moved, nearest


@pytest.mark.parametrize("size", [None, (5, 12)])
def test_warps_equal_a_loop_over_pixels(size: tuple[int, int] | None) -> None:
    case, warp = maps_of(4, 7, 9), random_warp(4)
    for found, expected in zip(sampled(warp, *case, size), literal_sampling(warp, *case, size), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(6, 8), (5, 7), (1, 1)])
def test_identity_and_flip_are_exact(height: int, width: int) -> None:
    smooth, whole = maps_of(2, height, width)
    moved, nearest = sampled(warp_of((1.0, 1.0), (-1.0, 1.0)), smooth, whole)
    assert torch.equal(nearest, torch.stack([whole[0], whole[1].flip(2)]))
    torch.testing.assert_close(moved, torch.stack([smooth[0], smooth[1].flip(2)]), rtol=0, atol=1e-5)


def test_outside_is_zero() -> None:
    moved, nearest = sampled(warp_of((2.0, 2.0)), torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8).long())
    inner = torch.zeros(1, 1, 8, 8)
    inner[:, :, 2:6, 2:6] = 1
    assert torch.equal(nearest, inner.long())
    assert torch.equal(moved, inner)


def test_a_shift_by_whole_pixels_is_exact() -> None:
    columns = torch.arange(1, 9).expand(1, 1, 2, 8)
    warp = warp_of((1.0, 1.0), shift=(2 * 3 / 8, 0.0))  # three of eight pixels
    moved, nearest = sampled(warp, columns.float(), columns)
    assert nearest[0, 0, 0].tolist() == [4, 5, 6, 7, 8, 0, 0, 0]
    torch.testing.assert_close(moved, nearest.float())


def test_an_image_scaled_down_is_all_there() -> None:
    marks = torch.zeros(64, 1, 24, 24, dtype=torch.int64)
    marks[..., :4, :4], marks[..., :4, -4:], marks[..., -4:, :4], marks[..., -4:, -4:] = 1, 2, 3, 4
    _, moved = sampled(random_warp(64, (0.5, 1.0)), marks.float(), marks)
    assert all({1, 2, 3, 4} <= set(image.unique().tolist()) for image in moved)


def test_an_image_scaled_up_fills_the_output() -> None:
    _, moved = sampled(random_warp(64, (1.0, 2.0)), *maps_of(64, 12, 12))
    assert (moved != 0).all()


def test_an_image_scaled_alone_keeps_its_center() -> None:
    factor, shift = scaled(no_warp(16, CPU), 1.0, (0.5, 2.0))
    assert (factor != 1).all()
    assert (shift == 0).all()


def test_draws_differ_per_image_and_follow_their_ranges() -> None:
    factor, shift = placed(flipped(scaled(no_warp(4000, CPU), 0.8, (0.75, 1.75)), 0.3))
    scale = 1 / factor[:, 1]
    changed = scale != 1
    assert (factor[:, 0] < 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert changed.float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert torch.equal(factor[:, 0].abs(), factor[:, 1])
    assert 0.75 <= scale.min() < 0.76
    assert 1.74 < scale.max() <= 1.7501
    assert scale[changed].mean().item() == pytest.approx(1.25, abs=0.03)
    assert (shift.abs() <= (1 - factor[:, 1:]).abs() + 1e-6).all()
    assert (shift[changed].unique(dim=0).shape[0]) == changed.sum()
    assert shift.mean(dim=0).abs().max() < 0.02
    assert (shift[~changed] == 0).all()


def test_probability_zero_is_the_identity() -> None:
    factor, shift = placed(flipped(scaled(no_warp(8, CPU), 0.0, (0.5, 2.0)), 0.0))
    assert (factor == 1).all()
    assert (shift == 0).all()


def test_half_precision_is_kept() -> None:
    smooth, whole = maps_of(2, 6, 8)
    warp = random_warp(2)
    found, _ = sampled(warp, smooth.bfloat16(), whole)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), sampled(warp, smooth, whole)[0], rtol=0, atol=0.02)


def test_autocast_does_not_touch_the_places() -> None:
    case, warp = maps_of(2, 64, 96), random_warp(2)
    exact = sampled(warp, *case)
    with torch.autocast("cpu", torch.bfloat16):
        for found, expected in zip(sampled(warp, *case), exact, strict=True):
            assert torch.equal(found, expected)
