"""One sampling moves image, labels and confidence: exact for flips and shifts, and against a loop over pixels."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.warp import Warp, draw_warp, warp_images
from fewmask.shapes import IGNORE

CPU = torch.device("cpu")


def scene(num_images: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random images, labels and confidence."""
    shape = (num_images, height, width)
    return torch.rand(num_images, 3, height, width), torch.randint(0, 5, shape), torch.rand(shape)


def ramps(num_images: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The column as the label, and at the same places as color and confidence in [0, 1]."""
    columns = torch.arange(width).expand(num_images, height, width)
    return (columns / width)[:, None].repeat(1, 3, 1, 1), columns.clone(), columns / width


def warp_of(*factors: tuple[float, float], shift: tuple[float, float] = (0.0, 0.0)) -> Warp:
    return Warp(torch.tensor(factors), torch.tensor([shift] * len(factors)))


def literal_warp(warp: Warp, images: Tensor, labels: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every output pixel on its own: where it comes from, then two-fold linear interpolation, and the nearest label."""
    num_images, _, height, width = images.shape
    planes = torch.cat([images, confidence[:, None]], dim=1)
    moved, moved_labels = torch.zeros_like(planes), torch.full_like(labels, IGNORE)
    for image in range(num_images):
        for row in range(height):
            for column in range(width):
                x = ((2 * column + 1) / width - 1) * float(warp.factor[image, 0]) + float(warp.shift[image, 0])
                y = ((2 * row + 1) / height - 1) * float(warp.factor[image, 1]) + float(warp.shift[image, 1])
                x, y = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
                for near_y in (math.floor(y), math.floor(y) + 1):
                    for near_x in (math.floor(x), math.floor(x) + 1):
                        if 0 <= near_y < height and 0 <= near_x < width:
                            share = (1 - abs(y - near_y)) * (1 - abs(x - near_x))
                            moved[image, :, row, column] += share * planes[image, :, near_y, near_x]
                if 0 <= round(y) < height and 0 <= round(x) < width:
                    moved_labels[image, row, column] = labels[image, round(y), round(x)]
    return moved[:, :3], moved_labels, moved[:, 3]


def test_warps_equal_a_loop_over_pixels() -> None:
    case = scene(4, 7, 9)
    warp = draw_warp(4, CPU, 0.5, 1.0, (0.5, 2.0))
    for found, expected in zip(warp_images(warp, *case), literal_warp(warp, *case), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(6, 8), (5, 7), (1, 1)])
def test_identity_and_flip_are_exact(height: int, width: int) -> None:
    images, labels, confidence = scene(2, height, width)
    moved_images, moved_labels, moved_confidence = warp_images(
        warp_of((1.0, 1.0), (-1.0, 1.0)), images, labels, confidence
    )
    assert torch.equal(moved_labels, torch.stack([labels[0], labels[1].flip(1)]))
    torch.testing.assert_close(moved_images, torch.stack([images[0], images[1].flip(2)]), rtol=0, atol=1e-5)
    torch.testing.assert_close(moved_confidence, torch.stack([confidence[0], confidence[1].flip(1)]), rtol=0, atol=1e-5)


def test_ignored_pixels_stay_ignored() -> None:
    images, labels, confidence = scene(1, 4, 4)
    labels[0, 1, 2] = IGNORE
    _, moved, _ = warp_images(warp_of((1.0, 1.0)), images, labels, confidence)
    assert torch.equal(moved, labels)


def test_labels_color_and_confidence_move_together() -> None:
    images, labels, confidence = warp_images(draw_warp(16, CPU, 0.5, 1.0, (0.5, 2.0)), *ramps(16, 24, 32))
    outside = F.pad((labels == IGNORE).float(), (1, 1, 1, 1), value=1.0)
    inside = F.max_pool2d(outside, 3, stride=1) == 0  # not beside the border, where colors mix with black
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(images[:, 0], confidence, rtol=0, atol=1e-5)
    assert ((32 * confidence - labels).abs()[inside] <= 0.501).all()


def test_outside_is_black_ignored_and_without_confidence() -> None:
    images, labels, confidence = (torch.ones(1, 3, 8, 8), torch.ones(1, 8, 8, dtype=torch.int64), torch.ones(1, 8, 8))
    images, labels, confidence = warp_images(warp_of((2.0, 2.0)), images, labels, confidence)
    window = torch.zeros(8, 8, dtype=torch.bool)
    window[2:6, 2:6] = True
    assert torch.equal(labels[0] == 1, window)
    assert torch.equal(labels[0] == IGNORE, ~window)
    assert torch.equal(confidence[0] == 1, window)
    assert (images[0, :, ~window] == 0).all()
    assert (confidence[0, ~window] == 0).all()


def test_a_shift_by_whole_pixels_is_exact() -> None:
    images, labels, confidence = ramps(1, 2, 8)
    warp = warp_of((1.0, 1.0), shift=(2 * 3 / 8, 0.0))  # three of eight pixels
    _, moved, _ = warp_images(warp, images, labels, confidence)
    assert moved[0, 0].tolist() == [3, 4, 5, 6, 7, IGNORE, IGNORE, IGNORE]


def test_an_image_scaled_down_is_all_there() -> None:
    labels = torch.zeros(64, 24, 24, dtype=torch.int64)
    labels[:, :4, :4], labels[:, :4, -4:], labels[:, -4:, :4], labels[:, -4:, -4:] = 1, 2, 3, 4
    _, moved, _ = warp_images(
        draw_warp(64, CPU, 0.5, 1.0, (0.5, 1.0)), torch.rand(64, 3, 24, 24), labels, torch.rand(64, 24, 24)
    )
    assert all({1, 2, 3, 4} <= set(image.unique().tolist()) for image in moved)


def test_an_image_scaled_up_fills_the_view() -> None:
    _, moved, _ = warp_images(draw_warp(64, CPU, 0.5, 1.0, (1.0, 2.0)), *scene(64, 12, 12))
    assert (moved != IGNORE).all()


def test_draws_differ_per_image_and_follow_their_ranges() -> None:
    factor, shift = draw_warp(4000, CPU, 0.3, 0.8, (0.75, 1.75))
    scale = 1 / factor[:, 1]
    scaled = scale != 1
    assert (factor[:, 0] < 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert scaled.float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert torch.equal(factor[:, 0].abs(), factor[:, 1])
    assert 0.75 <= scale.min() < 0.76
    assert 1.74 < scale.max() <= 1.7501
    assert scale[scaled].mean().item() == pytest.approx(1.25, abs=0.03)
    assert (shift.abs() <= (1 - factor[:, 1:]).abs() + 1e-6).all()
    assert (shift[scaled].unique(dim=0).shape[0]) == scaled.sum()
    assert shift.mean(dim=0).abs().max() < 0.02
    assert (shift[~scaled] == 0).all()


def test_probability_zero_is_the_identity() -> None:
    factor, shift = draw_warp(8, CPU, 0.0, 0.0, (0.5, 2.0))
    assert (factor == 1).all()
    assert (shift == 0).all()


def test_autocast_does_not_touch_the_places() -> None:
    case = scene(2, 64, 96)
    warp = draw_warp(2, CPU, 0.5, 1.0, (0.75, 1.75))
    exact = warp_images(warp, *case)
    with torch.autocast("cpu", torch.bfloat16):
        for found, expected in zip(warp_images(warp, *case), exact, strict=True):
            assert torch.equal(found, expected)
