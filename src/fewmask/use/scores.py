"""Scores from one confusion matrix over a whole set: IoU per class, and `n/a` for a class that the set lacks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from fewmask.shapes import Confusion


class Scores(NamedTuple):
    """Intersection over union, in [0, 1]; None for a class that the truth does not hold."""

    miou: float | None
    per_class: dict[str, float | None]
    pixel_accuracy: float | None

    def as_json(self) -> dict[str, Any]:
        """The scores as plain values for JSON."""
        return {"miou": self.miou, "per_class": self.per_class, "pixel_accuracy": self.pixel_accuracy}


def scores_of(confusion: Confusion, names: Sequence[str]) -> Scores:
    """Per-class IoU, and its mean over the classes that the truth holds.

    A class that is absent from the truth is None, never 0, and does not enter the mean. Its false positives still count
    against the classes of the pixels that they took.
    """
    matrix = confusion.double()
    truth, hits = matrix.sum(dim=1), matrix.diagonal()
    union = truth + matrix.sum(dim=0) - hits
    present = truth > 0
    iou: Tensor = hits / union.clamp(min=1)
    values = [float(value) if there else None for value, there in zip(iou, present, strict=True)]
    miou = float(iou[present].mean()) if present.any() else None
    accuracy = float(hits.sum() / truth.sum()) if present.any() else None
    return Scores(miou, dict(zip(names, values, strict=True)), accuracy)
