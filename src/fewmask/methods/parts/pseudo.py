"""Pseudo-labels: the classes that a network sees in an image without labels, and how sure it is of them."""

from typing import NamedTuple

import torch
from torch import Tensor

from fewmask.shapes import IGNORE, Confidence, Float32, Labels, Logits, Valid


class Pseudo(NamedTuple):
    """The most likely class of every pixel.

    Attributes:
        labels: 0..k-1; IGNORE where there is no image.
        confidence: the probability of that class, in [0, 1]; 0 where there is no image.
        valid: False where there is no image.
    """

    labels: Labels
    confidence: Confidence
    valid: Valid

    def surer_than(self, threshold: float) -> Labels:
        """The labels of the pixels whose confidence is above the threshold; IGNORE elsewhere."""
        return self.labels.masked_fill(self.confidence <= threshold, IGNORE)

    def mean_over_images(self, of_pixels: Tensor) -> Float32[Tensor, ""]:
        """The mean of a value of every pixel (b h w) over the pixels where there is an image; 0 if there are none."""
        return (of_pixels * self.valid).sum(dtype=torch.float32) / self.valid.sum().clamp(min=1)


@torch.no_grad()
def most_likely(logits: Logits, valid: Valid) -> Pseudo:
    """Argmax and maximum of the softmax, in float32; no gradient reaches the logits."""
    confidence, labels = logits.float().softmax(dim=1).max(dim=1)
    return Pseudo(labels.masked_fill(~valid, IGNORE), confidence * valid, valid)
