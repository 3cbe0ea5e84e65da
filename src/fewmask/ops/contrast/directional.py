"""The directional contrast: a pixel is drawn to the same pixel in another context, where the latter is surer.

Lai et al., Semi-supervised Semantic Segmentation with Directional Context-aware Consistency, CVPR 2021,
https://arxiv.org/abs/2106.14133.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.contrast.blocks import NEVER, Place, blockwise_rows, log_sum_exp
from fewmask.ops.unit import unit
from fewmask.shapes import IGNORE, RowClasses, Rows, RowScores, Scalar


class Pixels(NamedTuple):
    """Rows of pixels: vectors of any length, pseudo-labels (IGNORE outside the image), and confidence in [0, 1]."""

    vectors: Rows
    classes: RowClasses
    confidence: RowScores

    def of(self, rows: Tensor) -> "Pixels":
        """The pixels in the given rows."""
        return Pixels(*(values[rows] for values in self))


def pulled(
    pixels: Pixels, partners: Pixels, matched: Bool[Tensor, " n"], confidence_threshold: float
) -> Bool[Tensor, " n"]:
    """Which pixels follow their partners: those whose partner is surer than the pixel and than the threshold."""
    surer = (partners.confidence > pixels.confidence) & (partners.confidence > confidence_threshold)
    return matched & surer & (pixels.classes != IGNORE)


def directional_contrast(
    pixels: Pixels, partners: Pixels, active: Bool[Tensor, " n"], negatives: Pixels, temperature: float
) -> Scalar:
    """The mean over active pixels a, with partners b, of -log(exp s_ab / (exp s_ab + sum_k exp s_ak)).

    s is the cosine over the temperature; k runs over the negatives whose pseudo-label differs from a's. Gradients go to
    the pixels alone. Memory is linear in the number of pixels and of negatives.

    Args:
        pixels: n pixels; half precision is computed in float32.
        partners: n pixels, row by row.
        active: [n] which pixels count.
        negatives: m pixels; those with the class IGNORE are left out.
        temperature: above 0; 0.1 in the paper.

    Returns:
        A scalar, at least 0; 0 if no pixel is active. A pixel without negatives adds 0.
    """
    with torch.autocast(pixels.vectors.device.type, enabled=False):
        anchors = unit(pixels.vectors) / temperature
        keys = unit(negatives.vectors.detach())

        def log_pushes(logits: Tensor, place: Place) -> tuple[Tensor, Tensor]:
            _, rows = place
            alike = pixels.classes[rows, None] == negatives.classes
            return log_sum_exp(logits.masked_fill_(alike | (negatives.classes == IGNORE), NEVER))

        pushes = blockwise_rows(anchors[None], keys[None], log_pushes)[0]
        pulls = (anchors * unit(partners.vectors.detach())).sum(dim=1)
        each = -F.logsigmoid(pulls - pushes)
        return torch.where(active, each, 0.0).sum() / active.sum().clamp(min=1)
