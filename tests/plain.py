"""Losses of pixels as plain loops in float64, which tests of methods compare with."""

import math

from torch import Tensor

from fewmask.shapes import IGNORE


def plain_cross_entropy(
    logits: Tensor, labels: Tensor, confidence: Tensor | None = None, threshold: float = 0.0
) -> float:
    """Sum of -log softmax over the pixels whose label is at least so sure, divided by the number of all labels."""
    total, number = 0.0, 0
    rows = logits.detach().double().movedim(1, -1).flatten(0, 2).tolist()
    trust = [1.0] * len(rows) if confidence is None else confidence.flatten().tolist()
    for row, label, sure in zip(rows, labels.flatten().tolist(), trust, strict=True):
        if label == IGNORE:
            continue
        number += 1
        if sure >= threshold:
            total += math.log(sum(math.exp(each - max(row)) for each in row)) + max(row) - row[label]
    return total / max(1, number)


def plain_labels(logits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The most likely class of each pixel, IGNORE where it is not valid, and its probability, 0 there."""
    confidence, labels = logits.detach().softmax(dim=1).max(dim=1)
    return labels.masked_fill(~valid, IGNORE), confidence * valid
