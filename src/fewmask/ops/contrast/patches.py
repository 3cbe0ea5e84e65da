"""Compares patches of label maps, and contrasts their feature vectors by how much the patches differ.

Liu et al., Domain Adaptation for Semantic Segmentation via Patch-Wise Contrastive Learning, 2021,
https://arxiv.org/abs/2104.11056. This is our reading: the paper's formulas and its code were not available.
"""

from typing import NamedTuple

import torch
from einops import reduce
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.contrast.blocks import NEVER
from fewmask.ops.unit import unit
from fewmask.shapes import Labels, Rows, Scalar

SIDES = (1, 2, 4)
"""Parts a side at the levels of the pyramid: a patch is compared as a whole, in 2 x 2 and in 4 x 4 parts."""


class LabelPatches(NamedTuple):
    """The patches p of label maps, row by row: what they show, and what share of their pixels is labeled."""

    descriptors: Float[Tensor, "b p e"]
    labeled_share: Float[Tensor, "b p"]


def patch_grid(height: int, width: int, size: int) -> tuple[int, int]:
    """Rows and columns of patches: as many squares as fit, of `size` pixels a side or, if less, the shorter side.

    The patches cover the whole map: the pixels that are left over are shared out among them.
    """
    side = min(size, height, width)
    return height // side, width // side


def label_patches(labels: Labels, grid: tuple[int, int], num_classes: int) -> LabelPatches:
    """Class histograms of every patch and of its parts, scaled so that `disparity` is their L1 distance.

    Args:
        labels: [b h w] in 0..k-1; any other value (IGNORE) is unlabeled.
        grid: rows and columns of patches, which divide the map evenly up to one pixel.
        num_classes: k.

    Returns:
        Descriptors of 21 k numbers, and labeled shares in [0, 1]. The histogram of a part sums to 1 before scaling, or
        to 0 if nothing in the part is labeled; then it is half as far from any other as two histograms can be.
    """
    parts = (SIDES[-1] * grid[0], SIDES[-1] * grid[1])
    rows, columns = (
        torch.arange(length, device=labels.device) * number // length
        for length, number in zip(labels.shape[-2:], parts, strict=True)
    )
    images = torch.arange(len(labels), device=labels.device)[:, None, None]
    part = (images * parts[0] + rows[:, None]) * parts[1] + columns
    known = (labels >= 0) & (labels < num_classes)
    bins = (part * (num_classes + 1) + labels.masked_fill(~known, num_classes)).flatten()
    counts = torch.zeros(len(labels) * parts[0] * parts[1] * (num_classes + 1), device=labels.device)
    counts = counts.scatter_add_(0, bins, torch.ones_like(bins, dtype=counts.dtype))
    counts = counts.view(len(labels), *parts, num_classes + 1)

    whole = reduce(counts, "b (r i) (c j) k -> b (r c) k", "sum", r=grid[0], c=grid[1])
    labeled_share = whole[..., :-1].sum(dim=-1) / whole.sum(dim=-1).clamp(min=1)
    descriptors = []
    for side in SIDES:
        pattern = "b (r s i) (c t j) k -> b (r c) (s t) k"
        level = reduce(counts, pattern, "sum", r=grid[0], c=grid[1], s=side, t=side)
        histograms = level[..., :-1] / level[..., :-1].sum(dim=-1, keepdim=True).clamp(min=1)
        descriptors.append(histograms.flatten(2) / (2 * side**2 * len(SIDES)))
    return LabelPatches(torch.cat(descriptors, dim=2), labeled_share)


def disparity(one: Float[Tensor, "n e"], other: Float[Tensor, "m e"]) -> Float[Tensor, "n m"]:
    """How much patches differ, in [0, 1]: the share of a part's pixels that would have to change class.

    This is the mean over the levels, and over the parts of a level, of half the L1 distance of their histograms. The
    arguments are descriptors of `label_patches`.
    """
    return torch.cdist(one, other, p=1).clamp(max=1)  # rounding may exceed 1


def info_nce(
    anchors: Rows,
    keys: Float[Tensor, "m d"],
    positives: Bool[Tensor, "n m"],
    negatives: Bool[Tensor, "n m"],
    temperature: float,
) -> Scalar:
    """The mean over anchors of the mean over their positives q of -log(exp s_q / (exp s_q + sum_negatives exp s)).

    s is the cosine over the temperature.

    Args:
        anchors: [n d] of any length; half precision is computed in float32.
        keys: [m d] of any length.
        positives: [n m] which keys an anchor is drawn to.
        negatives: [n m] which keys an anchor is pushed from.
        temperature: above 0.

    Returns:
        A scalar, at least 0. Anchors without a positive or without a negative take no part; 0 if none is left.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        logits = unit(anchors) @ unit(keys).T / temperature
        pushed = logits.masked_fill(~negatives, NEVER).logsumexp(dim=1, keepdim=True)
        num_positives = positives.sum(dim=1)
        each = torch.where(positives, F.softplus(pushed - logits), 0.0).sum(dim=1) / num_positives.clamp(min=1)
        takes_part = (num_positives > 0) & negatives.any(dim=1)
        return torch.where(takes_part, each, 0.0).sum() / takes_part.sum().clamp(min=1)
