"""Random color and blur per image, on the device, without a host sync; the arithmetic is kornia's, in float32."""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from kornia.color import rgb_to_grayscale
from kornia.enhance import adjust_hue
from kornia.enhance.adjust import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_saturation_with_gray_subtraction,
)
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from torch import Tensor

from fewmask.shapes import Images


class JitterStrength(NamedTuple):
    """Largest change of each property: factors are U[1 - s, 1 + s]; hue turns by U[-s, s] of the full circle."""

    brightness: float
    contrast: float
    saturation: float
    hue: float


def jitter(images: Images, probability: float, strength: JitterStrength) -> Images:
    """Jitters each image with `probability`: brightness, contrast, saturation, hue, in this order.

    Alonso et al. name no order, and torchvision draws one per call; a fixed order needs no host sync.
    """
    num_images, device = len(images), images.device

    def factor(strength: float) -> Tensor:
        return 1 + strength * (2 * torch.rand(num_images, device=device) - 1)

    changed: Tensor = adjust_brightness_accumulative(images.float(), factor(strength.brightness))
    changed = adjust_contrast_with_mean_subtraction(changed, factor(strength.contrast))
    changed = adjust_saturation_with_gray_subtraction(changed, factor(strength.saturation))
    changed = adjust_hue(changed, (factor(strength.hue) - 1) * 2 * math.pi)
    return for_some(probability, changed, images)


def grayscale(images: Images, probability: float) -> Images:
    """Makes each image gray with `probability`; its three channels become equal."""
    if probability == 0:
        return images
    gray: Tensor = rgb_to_grayscale(images.float())
    return for_some(probability, gray.expand_as(images), images)


def blur(images: Images, probability: float, sigma_range: tuple[float, float] = (0.1, 1.5)) -> Images:
    """Blurs each image with `probability` by a Gaussian with one sigma U[sigma_range], in pixels.

    The released code of Alonso et al. hands (0.1, 1.5) to a function that takes it as the sigmas of the two axes, which
    makes one fixed, anisotropic blur (docs/differences.md: 25). Here it is the range of sigma.
    """
    if probability == 0:
        return images
    low, high = sigma_range
    sigma = low + (high - low) * torch.rand(len(images), 1, device=images.device)
    # kornia's gaussian_blur2d would read sigma on the host, to check it.
    kernel = get_gaussian_kernel1d(2 * math.ceil(3 * high) + 1, sigma)
    with torch.autocast(images.device.type, enabled=False):  # the convolution would round to bfloat16
        blurred = filter2d_separable(images.float(), kernel, kernel, border_type="replicate")
    return for_some(probability, blurred, images)


def for_some(probability: float, changed: Images, images: Images) -> Images:
    """Takes each image from `changed` with `probability`, otherwise from `images`; keeps the type of `images`."""
    chosen = torch.rand(len(images), device=images.device) < probability
    return torch.where(rearrange(chosen, "b -> b 1 1 1"), changed.to(images.dtype), images)
