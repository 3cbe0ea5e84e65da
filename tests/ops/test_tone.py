"""Tone operations: equal to Pillow's, drawn per image, and the same at probability 0."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from fewmask.ops.tone import Property, autocontrast, enhance, equalize, posterize, solarize

LEVEL = 1 / 255
CHANGES: list[Callable[[Tensor, float], Tensor]] = [
    autocontrast,
    equalize,
    lambda images, probability: enhance(images, "contrast", probability, (0.1, 0.5)),
    lambda images, probability: enhance(images, "sharpness", probability, (0.1, 0.5)),
    lambda images, probability: solarize(images, probability, (0.2, 0.8)),
    lambda images, probability: posterize(images, probability, (2, 4)),
]


def pictures(num_images: int = 3, height: int = 40, width: int = 50) -> list[Image.Image]:
    """Noise of few and of many levels, dark and bright."""
    generator = np.random.default_rng(2)
    shape = (height, width, 3)
    return [
        Image.fromarray((generator.beta(1 + image, 2, shape) * 180 + 20).astype(np.uint8))
        for image in range(num_images)
    ]


def as_tensor(images: list[Image.Image]) -> Tensor:
    return torch.stack([torch.from_numpy(np.array(image)) for image in images]).permute(0, 3, 1, 2) / 255


def assert_near(found: Tensor, expected: list[Image.Image], levels: float) -> None:
    torch.testing.assert_close(found, as_tensor(expected), rtol=0, atol=levels * LEVEL)


def test_autocontrast_and_equalize_are_pillows() -> None:
    images = pictures()
    assert_near(autocontrast(as_tensor(images), 1.0), [ImageOps.autocontrast(image) for image in images], 1.01)
    assert_near(equalize(as_tensor(images), 1.0), [ImageOps.equalize(image) for image in images], 0.01)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_posterize_is_pillows(bits: int) -> None:
    images = pictures()
    assert_near(
        posterize(as_tensor(images), 1.0, (bits, bits)), [ImageOps.posterize(image, bits) for image in images], 0.01
    )


def test_solarize_is_pillows() -> None:
    images = pictures()
    expected = [ImageOps.solarize(image, 100) for image in images]
    assert_near(solarize(as_tensor(images), 1.0, (99.5 / 255, 99.5 / 255)), expected, 0.01)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.8])
@pytest.mark.parametrize(
    ("name", "judge"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
        ("sharpness", ImageEnhance.Sharpness),
    ],
)
def test_enhancing_is_pillows(
    name: Property, judge: Callable[[Image.Image], ImageEnhance._Enhance], factor: float
) -> None:
    images = pictures()
    found = enhance(as_tensor(images), name, 1.0, (factor, factor))
    assert_near(found, [judge(image).enhance(factor) for image in images], 2)


@pytest.mark.parametrize("change", CHANGES)
def test_probability_zero_is_the_identity_and_one_changes_every_image(
    change: Callable[[Tensor, float], Tensor],
) -> None:
    images = 0.2 + 0.6 * torch.rand(40, 3, 24, 24)
    assert torch.equal(change(images, 0.0), images)
    assert (change(images, 1.0) != images).flatten(1).any(dim=1).all()


@pytest.mark.parametrize("change", CHANGES)
def test_one_pixel_even_images_and_half_precision_stay_in_range(change: Callable[[Tensor, float], Tensor]) -> None:
    for images in (torch.rand(2, 3, 1, 1), torch.full((2, 3, 8, 8), 0.4), torch.rand(2, 3, 8, 8).bfloat16()):
        changed = change(images, 1.0)
        assert changed.dtype == images.dtype
        assert changed.shape == images.shape
        assert changed.isfinite().all()
        assert changed.min() >= 0
        assert changed.max() <= 1


def test_images_draw_factors_of_their_own() -> None:
    images = torch.full((100, 3, 2, 2), 0.5)
    levels = enhance(images, "brightness", 1.0, (0.2, 0.6))[:, 0, 0, 0]
    assert len(set(levels.tolist())) > 95
    assert levels.min() >= 0.1
    assert levels.max() <= 0.3
