"""The tone operations of RandAugment, as Pillow defines them, per image, on the device and without a host sync.

Cubuk et al., RandAugment, NeurIPS 2020, https://arxiv.org/abs/1909.13719. Levels are those of 8 bits, in float32.
"""

from typing import Literal

import torch
from einops import rearrange, repeat
from kornia.color import rgb_to_grayscale
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.color import for_some
from fewmask.shapes import Float, Images

Property = Literal["brightness", "contrast", "saturation", "sharpness"]
WHITE = 255


def enhance(images: Images, of: Property, probability: float, factor_range: tuple[float, float]) -> Images:
    """With `probability`, blends an image with one that lacks the property: `other + factor * (image - other)`.

    The factor is drawn from U[factor_range]: 0 takes the property away, 1 changes nothing, more than 1 exaggerates it.
    """
    exact = images.float()
    other = _without(of, exact)
    return for_some(probability, (other + _drawn(images, *factor_range) * (exact - other)).clamp(0, 1), images)


def autocontrast(images: Images, probability: float) -> Images:
    """With `probability`, stretches every channel of an image to all of [0, 1]; a channel of one value stays."""
    exact = images.float()
    low, high = exact.amin(dim=(2, 3), keepdim=True), exact.amax(dim=(2, 3), keepdim=True)
    even = high <= low
    stretched = (exact - low) / (high - low).masked_fill(even, 1)
    return for_some(probability, torch.where(even, exact, stretched), images)


def equalize(images: Images, probability: float) -> Images:
    """With `probability`, gives every channel of an image the same number of pixels at each level, as far as possible.

    A channel stays as it is if fewer than 255 of its pixels are below its highest level.
    """
    levels = rearrange((images.float() * WHITE).round().long(), "b c h w -> b c (h w)")
    counts = torch.zeros(*levels.shape[:2], WHITE + 1, dtype=torch.int64, device=images.device)
    counts = counts.scatter_add_(2, levels, torch.ones_like(levels))
    step = (levels.shape[2] - counts.gather(2, levels.amax(dim=2, keepdim=True))) // WHITE
    below = counts.cumsum(dim=2) - counts
    lookup = ((below + step // 2) // step.clamp(min=1)).clamp(max=WHITE)
    equalized = (lookup.gather(2, levels).float() / WHITE).view(images.shape)
    return for_some(
        probability, torch.where(rearrange(step > 0, "b c 1 -> b c 1 1"), equalized, images.float()), images
    )


def solarize(images: Images, probability: float, threshold_range: tuple[float, float]) -> Images:
    """With `probability`, inverts the levels of an image from a threshold U[threshold_range] in [0, 1] on."""
    exact = images.float()
    threshold = _drawn(images, *threshold_range)
    return for_some(probability, torch.where(exact < threshold, exact, 1 - exact), images)


def posterize(images: Images, probability: float, bits_range: tuple[int, int]) -> Images:
    """With `probability`, keeps the highest bits of an image's levels, a number of them drawn from bits_range."""
    fewest, most = bits_range
    bits = torch.randint(fewest, most + 1, (len(images), 1, 1, 1), device=images.device)
    gap = torch.bitwise_left_shift(torch.ones_like(bits), 8 - bits)
    levels = (images.float() * WHITE).round()
    return for_some(probability, (levels / gap).floor() * gap / WHITE, images)


def _without(of: Property, images: Images) -> Images:
    if of == "brightness":
        return torch.zeros_like(images)
    if of == "sharpness":
        return _smooth(images)
    gray: Tensor = rgb_to_grayscale(images)
    return (gray.mean(dim=(2, 3), keepdim=True) if of == "contrast" else gray).expand_as(images)


def _smooth(images: Images) -> Images:
    """The mean of nine pixels, of which the one in the middle counts five times; the border stays."""
    height, width = images.shape[-2:]
    total = 9 * F.avg_pool2d(images, 3, stride=1, padding=1) + 4 * images
    rows, columns = (torch.arange(length, device=images.device) for length in (height, width))
    inner = ((rows > 0) & (rows < height - 1))[:, None] & ((columns > 0) & (columns < width - 1))
    return torch.where(inner, total / 13, images)


def _drawn(images: Images, low: float, high: float) -> Float[Tensor, "b 1 1 1"]:
    return repeat(low + (high - low) * torch.rand(len(images), device=images.device), "b -> b 1 1 1")
