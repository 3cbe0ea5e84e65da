"""Random scale, flip and place: affine maps of an image, composed first and sampled once."""

from typing import NamedTuple

import torch
from einops import rearrange, repeat
from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional as F

from fewmask.shapes import Float

Grid = Float[Tensor, "b h w 2"]
"""Coordinates (x, y) of the input, from -1 to 1, for every output pixel."""


class Warp(NamedTuple):
    """How output coordinates map to input coordinates, per image and axis: `input = output * factor + shift`.

    Coordinates run over [-1, 1]. factor is [b 2] (x, y), and a negative x means flipped; shift is [b 2].
    """

    factor: Float[Tensor, "b 2"]
    shift: Float[Tensor, "b 2"]


def no_warp(num_images: int, device: torch.device) -> Warp:
    """The warp that leaves every pixel where it is."""
    return Warp(torch.ones(num_images, 2, device=device), torch.zeros(num_images, 2, device=device))


def scaled(warp: Warp, probability: float, scale_range: tuple[float, float]) -> Warp:
    """Resizes each image with `probability` by U[scale_range] about its center; a factor above 1 enlarges it."""
    (low, high), num_images, device = scale_range, len(warp.factor), warp.factor.device
    chosen = torch.rand(num_images, device=device) < probability
    scale = torch.where(chosen, low + (high - low) * torch.rand(num_images, device=device), 1.0)
    return warp._replace(factor=warp.factor / rearrange(scale, "b -> b 1"))


def flipped(warp: Warp, probability: float) -> Warp:
    """Flips each image left to right with `probability`."""
    chosen = torch.rand(len(warp.factor), device=warp.factor.device) < probability
    sign = torch.where(chosen, -1.0, 1.0)
    return warp._replace(factor=warp.factor * torch.stack([sign, torch.ones_like(sign)], dim=1))


def placed(warp: Warp, centered: bool = False) -> Warp:
    """Moves the output of each image to a random place.

    An output that covers less than the image takes a random part of it; an output that covers more has the whole image
    at a random place, or in its center if `centered`. A shift that the warp had is replaced.
    """
    free = 1 - warp.factor.abs()
    if centered:
        free = free.clamp(min=0)
    return warp._replace(shift=(torch.rand_like(free) * 2 - 1) * free)


def sampling_grid(warp: Warp, size: tuple[int, int]) -> Grid:
    """Where each pixel of an output of `size` (height, width) comes from.

    F.affine_grid is not used: under autocast its matrix product runs in bfloat16, which is off by whole pixels.
    """
    height, width = size
    x = _centers(width, warp.factor.device) * warp.factor[:, :1] + warp.shift[:, :1]
    y = _centers(height, warp.factor.device) * warp.factor[:, 1:] + warp.shift[:, 1:]
    columns = repeat(x, "b w -> b h w", h=height)
    rows = repeat(y, "b h -> b h w", w=width)
    return torch.stack([columns, rows], dim=-1)


def sample_smooth(grid: Grid, maps: Float[Tensor, "b c _ _"]) -> Float[Tensor, "b c h w"]:
    """Samples maps bilinearly, with 0 outside; computes in float32 and returns the type of the maps."""
    return F.grid_sample(maps.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False).to(maps.dtype)


def sample_nearest(grid: Grid, maps: Shaped[Tensor, "b c _ _"]) -> Shaped[Tensor, "b c h w"]:
    """Samples the nearest pixel of maps, with 0 outside; whole numbers up to 2**24 are exact."""
    return F.grid_sample(maps.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False).to(maps.dtype)


def _centers(length: int, device: torch.device) -> Float[Tensor, " n"]:
    return (2 * torch.arange(length, device=device) + 1) / length - 1
