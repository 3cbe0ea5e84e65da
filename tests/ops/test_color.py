"""Color and blur: known arithmetic, drawn per image, inside [0, 1], and nothing at probability or strength 0."""

import colorsys
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fewmask.ops.color import JitterStrength, additive_jitter, blur, grayscale, jitter

NONE = JitterStrength(0.0, 0.0, 0.0, 0.0)
STRONG = JitterStrength(0.3, 0.3, 0.15, 0.1)


def literal_jitter(image: Tensor, brightness: float, contrast: float, saturation: float, hue: float) -> Tensor:
    """Pixel by pixel: times brightness, about the image's mean gray, about the pixel's own gray, around the circle."""

    def gray(pixel: list[float]) -> float:
        return 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]

    def clamped(pixel: list[float]) -> list[float]:
        return [min(max(level, 0.0), 1.0) for level in pixel]

    pixels = [clamped([brightness * level for level in pixel]) for pixel in image.flatten(1).T.tolist()]
    mean = sum(map(gray, pixels)) / len(pixels)
    pixels = [clamped([contrast * level + (1 - contrast) * mean for level in pixel]) for pixel in pixels]
    pixels = [clamped([saturation * level + (1 - saturation) * gray(pixel) for level in pixel]) for pixel in pixels]
    turned = []
    for pixel in pixels:
        angle, *rest = colorsys.rgb_to_hsv(*pixel)
        turned.append(colorsys.hsv_to_rgb((angle + hue) % 1, *rest))
    return torch.tensor(turned).T.reshape(image.shape)


def literal_additive_jitter(image: Tensor, changes: list[float], order: list[int]) -> Tensor:
    """Pixel by pixel: brightness is added, contrast multiplies, saturation and hue change in HSV, in this order."""

    def clamped(level: float) -> float:
        return min(max(level, 0.0), 1.0)

    brightness, contrast, saturation, hue = changes
    pixels = []
    for pixel in image.flatten(1).T.tolist():
        for change in order:
            if change == 0:
                pixel = [clamped(level + brightness) for level in pixel]
            elif change == 1:
                pixel = [clamped(level * (1 + contrast)) for level in pixel]
            else:
                angle, full, value = colorsys.rgb_to_hsv(*pixel)
                if change == 2:
                    full = clamped(full * (1 + saturation))
                else:
                    angle = (angle + hue) % 1
                pixel = list(colorsys.hsv_to_rgb(angle, full, value))
        pixels.append(pixel)
    return torch.tensor(pixels).T.reshape(image.shape)


def literal_blur(image: Tensor, sigma: float, reach: int) -> Tensor:
    """The mean of the neighbors, weighted by a Gaussian of their distance; beyond the border, the border."""
    _, height, width = image.shape
    blurred = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            total = 0.0
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    weight = math.exp(-(down**2 + right**2) / (2 * sigma**2))
                    source = image[:, min(max(row + down, 0), height - 1), min(max(column + right, 0), width - 1)]
                    blurred[:, row, column] += weight * source
                    total += weight
            blurred[:, row, column] /= total
    return blurred


def test_jitter_equals_a_loop_over_pixels() -> None:
    images = torch.rand(5, 3, 3, 4)
    torch.manual_seed(1)
    found = jitter(images, 1.0, STRONG)
    torch.manual_seed(1)  # the same draws, in the order of the changes
    changes = torch.stack([strength * (2 * torch.rand(5) - 1) for strength in STRONG], dim=1).tolist()
    for image, jittered, (brightness, contrast, saturation, hue) in zip(images, found, changes, strict=True):
        expected = literal_jitter(image, 1 + brightness, 1 + contrast, 1 + saturation, hue)
        torch.testing.assert_close(jittered, expected, rtol=0, atol=1e-4)


def test_additive_jitter_equals_a_loop_over_pixels_in_its_drawn_order() -> None:
    images, orders = torch.rand(3, 3, 3, 4), set()
    for seed in range(12):
        torch.manual_seed(seed)
        found = additive_jitter(images, 1.0, STRONG)
        torch.manual_seed(seed)
        changes = torch.stack([strength * (2 * torch.rand(3) - 1) for strength in STRONG], dim=1).tolist()
        order = torch.rand(4).argsort().tolist()
        orders.add(tuple(order))
        for image, jittered, of_image in zip(images, found, changes, strict=True):
            torch.testing.assert_close(jittered, literal_additive_jitter(image, of_image, order), rtol=0, atol=1e-4)
    assert len(orders) > 6


def test_brightness_scales_each_image_by_a_factor_of_its_own() -> None:
    images = torch.full((500, 3, 2, 2), 0.5)
    factors = jitter(images, 1.0, JitterStrength(0.3, 0.0, 0.0, 0.0))[:, 0, 0, 0] / 0.5
    assert factors.unique().numel() > 490
    assert 0.7 <= factors.min() < 0.71
    assert 1.29 < factors.max() <= 1.3001


def test_strength_zero_is_the_identity() -> None:
    images = torch.rand(4, 3, 6, 6)
    torch.testing.assert_close(jitter(images, 1.0, NONE), images, rtol=0, atol=1e-5)


def test_probability_zero_is_the_identity() -> None:
    images = torch.rand(4, 3, 6, 6)
    assert torch.equal(jitter(images, 0.0, STRONG), images)
    assert torch.equal(blur(images, 0.0), images)
    assert torch.equal(grayscale(images, 0.0), images)


def test_gray_images_have_three_equal_channels_of_the_luminance() -> None:
    images = torch.rand(4, 3, 6, 6)
    gray = grayscale(images, 1.0)
    expected = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(dim=1, keepdim=True)
    torch.testing.assert_close(gray, expected.expand_as(gray))


@pytest.mark.parametrize(
    "change",
    [
        lambda images: jitter(images, 0.3, STRONG),
        lambda images: blur(images, 0.3),
        lambda images: grayscale(images, 0.3),
    ],
)
def test_the_probability_holds_per_image(change: Callable[[Tensor], Tensor]) -> None:
    images = torch.rand(1, 3, 8, 8).repeat(600, 1, 1, 1)
    changed = (change(images) != images).flatten(1).any(dim=1)
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.06)


def test_levels_stay_in_range_at_full_strength() -> None:
    images = torch.rand(50, 3, 8, 8).round(decimals=1)  # with pure black and white
    changed = blur(jitter(images, 1.0, JitterStrength(1.0, 1.0, 1.0, 0.5)), 1.0)
    assert changed.isfinite().all()
    assert changed.min() >= 0
    assert changed.max() <= 1.000001


def test_an_image_does_not_depend_on_those_beside_it() -> None:
    images = torch.rand(3, 3, 8, 8)
    others = torch.cat([images[:1], torch.rand(2, 3, 8, 8)])
    changes: list[Callable[[Tensor], Tensor]] = [
        lambda batch: jitter(batch, 1.0, STRONG),
        lambda batch: blur(batch, 1.0),
    ]
    for change in changes:
        torch.manual_seed(1)
        first = change(images)[0]
        torch.manual_seed(1)
        assert torch.equal(change(others)[0], first)


def test_blur_equals_a_loop_over_pixels() -> None:
    images = torch.rand(2, 3, 7, 5)
    torch.manual_seed(1)
    found = blur(images, 1.0, sigma_range=(0.5, 1.5))
    torch.manual_seed(1)
    for image, blurred, sigma in zip(images, found, (0.5 + torch.rand(2, 1)).flatten().tolist(), strict=True):
        torch.testing.assert_close(blurred, literal_blur(image, sigma, reach=5), rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [1, 3, 16])
def test_blur_keeps_an_even_image_of_any_size(side: int) -> None:
    images = torch.rand(3, 3, 1, 1).expand(-1, -1, side, side)
    torch.testing.assert_close(blur(images, 1.0), images.contiguous())


def test_a_wider_sigma_blurs_more() -> None:
    images = torch.rand(1, 3, 32, 32)
    narrow, wide = (blur(images, 1.0, sigma_range=(sigma, sigma)).std() for sigma in (0.5, 1.5))
    assert wide < narrow < images.std()


def test_one_pixel_is_jittered_like_any_other() -> None:
    assert jitter(torch.rand(2, 3, 1, 1), 1.0, STRONG).isfinite().all()


def test_autocast_does_not_round_the_images() -> None:
    images = torch.rand(2, 3, 16, 16)
    changes: list[Callable[[Tensor], Tensor]] = [
        lambda batch: jitter(batch, 1.0, STRONG),
        lambda batch: blur(batch, 1.0),
        lambda batch: grayscale(batch, 1.0),
    ]
    for change in changes:
        torch.manual_seed(1)
        exact = change(images)
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(change(images), exact)
