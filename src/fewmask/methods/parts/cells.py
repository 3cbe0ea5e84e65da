"""The cells of a batch on the grid of a contrast: what u2pl, reco and pixcon draw their pixels from."""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from fewmask.models.grid import on_coarse_grid
from fewmask.models.segnet import SegNet
from fewmask.shapes import Features, Labels, RowClasses, Rows


class Cells(NamedTuple):
    """A feature map on the grid of a contrast, and what is known of its cells, image by image.

    Attributes:
        features: [b d hg wg], what a projection head reads.
        classes: the labels of the cells; IGNORE where there is none.
        probabilities: the softmax of each cell, in float32 and without gradient.
    """

    features: Features
    classes: RowClasses
    probabilities: Float[Tensor, "n k"]


def cells_of(net: SegNet, features: Features, labels: Labels, cell: int) -> Cells:
    """The cells of a batch on a grid of about `cell` pixels, with what `net` predicts from its features."""
    coarse, classes = on_coarse_grid(features, labels, net.stride, cell)
    with torch.no_grad():
        logits, _ = on_coarse_grid(net.classify_cells(features), labels, net.stride, cell)
    return Cells(coarse, classes.flatten(), as_rows(logits.float().softmax(dim=1)))


def as_rows(maps: Features) -> Rows:
    """Every cell of the maps as a row, image by image."""
    return rearrange(maps, "b d hs ws -> (b hs ws) d")
