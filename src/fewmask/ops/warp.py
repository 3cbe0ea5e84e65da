"""Random flip, scale and crop: one sampling moves image, labels and confidence together."""

from typing import NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F

from fewmask.shapes import IGNORE, Confidence, Float, Images, Labels


class Warp(NamedTuple):
    """How output coordinates map to input coordinates, per image and axis: `input = output * factor + shift`.

    Coordinates run over [-1, 1]. factor is [b 2] (x, y), negative x means flipped; shift is [b 2].
    """

    factor: Float[Tensor, "b 2"]
    shift: Float[Tensor, "b 2"]


def draw_warp(
    num_images: int,
    device: torch.device,
    flip_probability: float,
    scale_probability: float,
    scale_range: tuple[float, float],
) -> Warp:
    """Draws one warp per image: flip, then resize by U[scale_range] and crop or pad back to the old size.

    A resize by s > 1 takes a random window of 1/s of each side; s < 1 puts the whole image at a random place.
    """
    low, high = scale_range
    scaled = torch.rand(num_images, device=device) < scale_probability
    scale = torch.where(scaled, low + (high - low) * torch.rand(num_images, device=device), 1.0)
    flipped = torch.rand(num_images, device=device) < flip_probability
    window = rearrange(1 / scale, "b -> b 1").expand(-1, 2)
    shift = (torch.rand(num_images, 2, device=device) * 2 - 1) * (1 - window)
    mirror = torch.stack([torch.where(flipped, -1.0, 1.0), torch.ones_like(scale)], dim=1)
    return Warp(window * mirror, shift)


def warp_images(
    warp: Warp, images: Images, labels: Labels, confidence: Confidence
) -> tuple[Images, Labels, Confidence]:
    """Image and confidence bilinear, labels nearest, all at the same places; outside: 0, IGNORE, 0."""
    grid = _sampling_grid(warp, images.shape[-2:])
    planes = torch.cat([images, rearrange(confidence, "b h w -> b 1 h w").to(images)], dim=1)
    planes = F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # Shifted so that the zero outside means IGNORE; every label is exact in float32.
    shifted = rearrange((labels - IGNORE).float(), "b h w -> b 1 h w")
    shifted = F.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return planes[:, :3], shifted[:, 0].long() + IGNORE, planes[:, 3].clamp(0, 1)


def _sampling_grid(warp: Warp, size: torch.Size) -> Float[Tensor, "b h w 2"]:
    """Input coordinates (x, y) of every output pixel.

    Not F.affine_grid: its matrix product runs in bfloat16 under autocast, which misses the places by whole pixels.
    """
    height, width = size
    x = _centers(width, warp.factor.device) * warp.factor[:, :1] + warp.shift[:, :1]
    y = _centers(height, warp.factor.device) * warp.factor[:, 1:] + warp.shift[:, 1:]
    columns = repeat(x, "b w -> b h w", h=height)
    rows = repeat(y, "b h -> b h w", w=width)
    return torch.stack([columns, rows], dim=-1)


def _centers(length: int, device: torch.device) -> Float[Tensor, " n"]:
    return (2 * torch.arange(length, device=device) + 1) / length - 1
