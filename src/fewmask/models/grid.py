"""Brings maps of pixels to the grid of a network's features: pads them to the network's stride, then samples.

Contrast and memory banks need the label of every feature vector (section 3.4 of Alonso et al., ICCV 2021,
https://arxiv.org/abs/2104.13415).
"""

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn import functional as F

from fewmask.shapes import IGNORE, Features, Labels


def on_grid(
    maps: Shaped[Tensor, "b h w"], grid: tuple[int, int], stride: int, fill: float | int, align_corners: bool = False
) -> Shaped[Tensor, "b hs ws"]:
    """A per-pixel map, sampled where the features are: entry i of the flat map belongs to row i of the flat features.

    Args:
        maps: labels, confidence or a mask of the images from which the features were computed.
        grid: height and width of the features.
        stride: stride of the network (`SegNet.stride`).
        fill: the value of the padding, such as IGNORE or a confidence of 0.
        align_corners: if True, each cell takes the nearest pixel of a grid whose last cell is the last pixel, where
            `classify` puts it, as in the released code of Zhao et al. If False, cell (i, j) takes the pixel at
            (i H / hs, j W / ws) of the padded map, rounded down. The receptive field of a convolutional encoder is
            centered there, and the released code of Alonso et al. takes this pixel.

    Returns:
        The sampled map, in the type of the given maps.
    """
    padded = pad(maps, stride, fill)
    rows, columns = (
        _nearest_pixels(cells, pixels, maps.device) if align_corners else _first_pixels(cells, pixels, maps.device)
        for cells, pixels in zip(grid, padded.shape[-2:], strict=True)
    )
    return padded[:, rows[:, None], columns]


def on_coarse_grid(
    features: Features, labels: Labels, stride: int, cell: int, align_corners: bool = False
) -> tuple[Float[Tensor, "b d hg wg"], Int64[Tensor, "b hg wg"]]:
    """Features and their labels on a grid of about `cell` pixels; a finer map keeps one of several rows and columns.

    `stride` is the network's stride, and `align_corners` is as in `on_grid`. IGNORE fills the padding of the labels.
    """
    height, width = features.shape[-2:]
    skip = max(1, cell * width // round_up(labels.shape[-1], stride))
    classes = on_grid(labels, (height, width), stride, IGNORE, align_corners)
    return features[:, :, ::skip, ::skip], classes[:, ::skip, ::skip]


def at_size(logits: Float[Tensor, "b k hs ws"], size: tuple[int, int], stride: int) -> Float[Tensor, "b k h w"]:
    """Logits on any grid of a padded image, upsampled bilinearly to it with aligned corners, without the padding.

    Args:
        logits: on a grid of the image, which was padded to a multiple of `stride`.
        size: height and width of the image.
        stride: stride of the network.
    """
    height, width = size
    padded = (round_up(height, stride), round_up(width, stride))
    if logits.shape[-2:] != padded:
        logits = F.interpolate(logits, padded, mode="bilinear", align_corners=True)
    return logits[..., :height, :width]


def pad(maps: Shaped[Tensor, "*b h w"], stride: int, fill: float | int) -> Shaped[Tensor, "*b hp wp"]:
    """The maps with `fill` at the bottom and at the right, so that both sides are multiples of the stride."""
    height, width = maps.shape[-2:]
    bottom, right = round_up(height, stride) - height, round_up(width, stride) - width
    return F.pad(maps, (0, right, 0, bottom), value=fill) if bottom or right else maps


def round_up(length: int, stride: int) -> int:
    """The smallest multiple of the stride that is at least the length."""
    return (length + stride - 1) // stride * stride


def _first_pixels(cells: int, pixels: int, device: torch.device) -> Tensor:
    return torch.arange(cells, device=device) * pixels // cells


def _nearest_pixels(cells: int, pixels: int, device: torch.device) -> Tensor:
    """The nearest pixel of each cell; halfway between two pixels, the later one."""
    gaps = max(cells - 1, 1)
    return (2 * torch.arange(cells, device=device) * (pixels - 1) + gaps) // (2 * gaps)
