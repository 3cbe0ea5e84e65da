"""Random color and blur per image, on the device, without a host sync; the arithmetic is kornia's, in float32."""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from kornia.color import hsv_to_rgb, rgb_to_grayscale, rgb_to_hsv
from kornia.enhance import adjust_hue
from kornia.enhance.adjust import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_hue_raw,
    adjust_saturation_raw,
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
    brightness, contrast, saturation, hue = _draw_factors(len(images), images.device, strength)
    changed: Tensor = adjust_brightness_accumulative(images.float(), brightness)
    changed = adjust_contrast_with_mean_subtraction(changed, contrast)
    changed = adjust_saturation_with_gray_subtraction(changed, saturation)
    changed = adjust_hue(changed, (hue - 1) * 2 * math.pi)
    return for_some(probability, changed, images)


def additive_jitter(images: Images, probability: float, strength: JitterStrength) -> Images:
    """Jitters each image with `probability` as kornia 0.4.1 did, in an order that is drawn once for all images.

    Brightness adds U[-s, s], contrast multiplies the levels, and saturation is multiplied in HSV. The released code of
    Alonso et al. jitters so (docs/differences.md: 44). The order is drawn on the device, so the host does not know
    which change comes when: every turn makes all changes, and those that are not its own by nothing.
    """
    brightness, contrast, saturation, hue = _draw_factors(len(images), images.device, strength)
    shift, angle = brightness - 1, (hue - 1) * 2 * math.pi
    changed: Tensor = images.float()
    for change in torch.rand(4, device=images.device).argsort().unbind():
        factor, offset = (
            rearrange(each, "b -> b 1 1 1")
            for each in (torch.where(change == 1, contrast, 1.0), torch.where(change == 0, shift, 0.0))
        )
        hsv = rgb_to_hsv((changed * factor + offset).clamp(0, 1))
        hsv = adjust_saturation_raw(hsv, torch.where(change == 2, saturation, 1.0))
        changed = hsv_to_rgb(adjust_hue_raw(hsv, torch.where(change == 3, angle, 0.0)))
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


def _draw_factors(num_images: int, device: torch.device, strength: JitterStrength) -> list[Tensor]:
    """U[1 - s, 1 + s] [b] for each of the four strengths."""
    return [1 + each * (2 * torch.rand(num_images, device=device) - 1) for each in strength]


def for_some(probability: float, changed: Images, images: Images) -> Images:
    """Takes each image from `changed` with `probability`, otherwise from `images`; keeps the type of `images`."""
    chosen = torch.rand(len(images), device=images.device) < probability
    return torch.where(rearrange(chosen, "b -> b 1 1 1"), changed.to(images.dtype), images)
