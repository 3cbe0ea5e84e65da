"""The correlation head of CorrMatch: how much each cell of a network's deepest map resembles each other cell.

Sun et al., CorrMatch: Label Propagation via Correlation Matching for Semi-Supervised Semantic Segmentation, CVPR 2024,
https://arxiv.org/abs/2306.04300.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.shapes import Bool, Features, Float

Correlation = Float[Tensor, "b n n"]


class CorrelationHead(nn.Module):
    """A 3x3 convolution, BatchNorm, ReLU and dropout, then two 1x1 convolutions whose outputs are compared."""

    def __init__(self, in_dim: int, num_classes: int, dim: int = 256) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(in_dim, dim, 3, padding=1), nn.BatchNorm2d(dim), nn.ReLU(inplace=True), nn.Dropout2d(0.1)
        )
        self.from_cells, self.to_cells = nn.Conv2d(dim, num_classes, 1), nn.Conv2d(dim, num_classes, 1)

    def forward(self, maps: Features) -> Correlation:
        """How much each of the n cells of an image resembles each cell: shares above 0 that sum to 1, in float32.

        Memory is quadratic in the number of cells of the deepest map.
        """
        projected = self.project(maps)
        one, other = (rearrange(layer(projected), "b k h w -> b k (h w)") for layer in (self.from_cells, self.to_cells))
        with torch.autocast(maps.device.type, enabled=False):
            likeness: Tensor = one.float().mT @ other.float() / math.sqrt(one.shape[1])
            return likeness.softmax(dim=2)


def spread(
    logits: Float[Tensor, "b k hs ws"], correlation: Correlation, grid: tuple[int, int]
) -> Float[Tensor, "b k hg wg"]:
    """The logits that each cell of the grid passes on to cells like it; no gradient reaches the given logits."""
    with torch.autocast(logits.device.type, enabled=False):
        coarse = F.interpolate(logits.detach().float(), grid, mode="bilinear", align_corners=True)
        passed_on: Tensor = (coarse.flatten(2) @ correlation).unflatten(2, grid)
        return passed_on


@torch.no_grad()
def draw_segments(
    correlation: Correlation, grid: tuple[int, int], num_segments: int, size: tuple[int, int]
) -> Bool[Tensor, "b m h w"]:
    """The cells of a finer grid that resemble a drawn cell more than midway between its least and its most similar one.

    Args:
        correlation: of the cells of each image.
        grid: height and width of the cells.
        num_segments: m, the number of cells that are drawn; the same ones in all images.
        size: height and width of the finer grid.
    """
    drawn = torch.randint(correlation.shape[1], (num_segments,), device=correlation.device)
    maps = correlation.index_select(1, drawn).unflatten(2, grid)
    maps = F.interpolate(maps, size, mode="bilinear", align_corners=True)
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    return maps - low > (high - low) / 2
