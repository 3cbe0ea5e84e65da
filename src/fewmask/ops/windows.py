"""Windows of images, flipped or not, and the cells that two windows of an image have in common."""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor


class Windows(NamedTuple):
    """One window per image, all of one size. Their places are counted in cells, squares of `cell` pixels a side."""

    top: Int64[Tensor, " b"]
    left: Int64[Tensor, " b"]
    flipped: Bool[Tensor, " b"]  # left to right
    size: tuple[int, int]  # height and width in pixels, multiples of `cell`
    cell: int


class Match(NamedTuple):
    """The cell of another window that shows the same pixels, for every cell of one, image by image, row by row."""

    cells: Int64[Tensor, " n"]  # counted in the same order; any number where there is no match
    found: Bool[Tensor, " n"]


def draw_windows(
    num_images: int,
    image_size: tuple[int, int],
    size: tuple[int, int],
    cell: int,
    flip_probability: float,
    device: torch.device,
) -> Windows:
    """Draws a place for a window of `size` pixels in every image, and whether it is flipped."""
    top, left = (
        torch.randint((whole - part) // cell + 1, (num_images,), device=device)
        for whole, part in zip(image_size, size, strict=True)
    )
    flipped = torch.rand(num_images, device=device) < flip_probability
    return Windows(top, left, flipped, size, cell)


def cut(maps: Float[Tensor, "b c h w"], windows: Windows) -> Float[Tensor, "b c hw ww"]:
    """Cuts the windows out of the maps."""
    channels, width = maps.shape[1], maps.shape[3]
    rows, columns = _places(windows, unit=1)
    bands = maps.gather(2, rows[:, None, :, None].expand(-1, channels, -1, width))
    return bands.gather(3, columns[:, None, None, :].expand(-1, channels, rows.shape[1], -1))


def match(one: Windows, other: Windows) -> Match:
    """Finds the cells of `one` in `other`, windows of the same images and size."""
    rows, columns = _places(one, unit=one.cell)
    rows, columns = rows - other.top[:, None], columns - other.left[:, None]
    height, width = (length // one.cell for length in other.size)
    inside_rows, inside_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    columns = torch.where(other.flipped[:, None], width - 1 - columns, columns)
    images = torch.arange(len(rows), device=rows.device)[:, None, None]
    cells = (images * height + rows.clamp(0, height - 1)[:, :, None]) * width + columns.clamp(0, width - 1)[:, None]
    found = inside_rows[:, :, None] & inside_columns[:, None]
    return Match(rearrange(cells, "b r c -> (b r c)"), rearrange(found, "b r c -> (b r c)"))


def _places(windows: Windows, unit: int) -> tuple[Int64[Tensor, "b r"], Int64[Tensor, "b c"]]:
    """The rows and columns of the image that the windows show, in units of `unit` pixels."""
    scale, device = windows.cell // unit, windows.top.device
    rows, columns = (torch.arange(length // unit, device=device) for length in windows.size)
    columns = torch.where(windows.flipped[:, None], len(columns) - 1 - columns, columns)
    return windows.top[:, None] * scale + rows, windows.left[:, None] * scale + columns
