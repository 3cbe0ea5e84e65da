"""Thresholds of pseudo-labels that are found on held-out labeled images [OURS].

A threshold of a class is the lowest confidence from which enough of the pixels that are predicted as this class are
right. Images that a network learns from cannot tell this: after some passes over 12 images nearly all of their pixels
are right, however unsure the network is. So a sixth of the labeled images is kept from learning (`Needs.held_out`), and
every step looks at one crop of them.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from fewmask.augment import Probability, View
from fewmask.data.batch import Batch
from fewmask.methods.base import Tools
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.modes import in_eval_mode
from fewmask.models.ranks import summed_over_ranks
from fewmask.models.segnet import SegNet
from fewmask.ops.losses import class_counts
from fewmask.shapes import IGNORE, Float, Labels, Logits, PerClass, Valid

NUM_BINS = 100
"""Bins of confidence, each 0.01 wide."""
DECAY = 0.99
"""Factor by which a step shrinks the counts of older crops, so that they count for some 100 steps."""
FEWEST = 1000.0
"""A class that is predicted at fewer held-out pixels than this has the threshold of all classes together."""

Threshold = float | PerClass


class ThresholdConfig(SupervisedConfig):
    """Which pseudo-labels are sure enough to teach."""

    confidence_threshold: Probability | Literal["auto"] = 0.95
    """A pixel teaches if its pseudo-label is at least this sure. The papers have 0.95 on Pascal VOC. On Cityscapes
    `unimatch_v2` and `pixcon` have 0.95 too, and the others 0. `auto`: a threshold for every class, found on a sixth of
    the labeled images, which are not learned from [OURS]."""
    threshold_precision: Probability = 0.9
    """With `auto`: the share of the held-out pixels at or above a threshold that have to be right."""


class AutoThreshold(nn.Module):
    """Counts right and wrong predictions by class and confidence, and finds the thresholds."""

    counts: Tensor  # [k bins 2]: all pixels, and the right ones

    def __init__(self, num_classes: int, accumulate: int = 1) -> None:
        super().__init__()
        self.decay = DECAY ** (1 / accumulate)
        self.register_buffer("counts", torch.zeros(num_classes, NUM_BINS, 2, dtype=torch.float64))

    @torch.no_grad()
    def observe(self, logits: Logits, labels: Labels) -> None:
        """Adds the pixels of one batch that have a label, and lets the older ones fade."""
        num_classes = len(self.counts)
        confidence, predicted = logits.float().softmax(dim=1).max(dim=1)
        bins = predicted * NUM_BINS + (confidence * NUM_BINS).long().clamp(max=NUM_BINS - 1)
        num_bins = num_classes * NUM_BINS
        both = [bins.masked_fill(~counted, num_bins) for counted in (labels != IGNORE, predicted == labels)]
        new = torch.stack([class_counts(each, num_bins) for each in both], dim=1)
        self.counts.mul_(self.decay).add_(summed_over_ranks(new).view_as(self.counts))

    def thresholds(self, precision: float) -> PerClass:
        """The thresholds of the classes, in [0, 1); the highest one where no confidence gives this precision.

        Args:
            precision: the share of the pixels at or above a threshold that have to be right.
        """
        pooled = _lowest(self.counts.sum(dim=0, keepdim=True), precision)
        has_evidence = self.counts[..., 0].sum(dim=1) >= FEWEST
        return torch.where(has_evidence, _lowest(self.counts, precision), pooled)


class Thresholded(Supervised):
    """A method whose `confidence_threshold` may be `auto`."""

    config: Any

    def __init__(self, config: Any, tools: Tools) -> None:
        super().__init__(config, tools)
        self.auto_threshold = AutoThreshold(tools.num_classes, tools.accumulate) if finds_threshold(config) else None

    def threshold(self, batch: Batch, labeler: SegNet) -> Threshold:
        """The threshold of this step; `labeler` makes the pseudo-labels, and is looked at in eval mode."""
        if self.auto_threshold is not None:
            assert batch.held_out is not None
            with in_eval_mode(labeler), torch.no_grad():
                self.auto_threshold.observe(labeler(batch.held_out.images).logits, batch.held_out.labels)
        return self.current_threshold()

    def current_threshold(self) -> Threshold:
        """The threshold as it was found last."""
        if self.auto_threshold is None:
            return float(self.config.confidence_threshold)
        return self.auto_threshold.thresholds(self.config.threshold_precision)


def finds_threshold(config: ThresholdConfig) -> bool:
    """Whether the thresholds are found on held-out images."""
    return config.confidence_threshold == "auto"


def is_sure(view: View, threshold: Threshold) -> Valid:
    """Which pixels have a pseudo-label that is at least as sure as the threshold, or as that of its class."""
    return view.confidence >= of_labels(threshold, view.labels)


def of_labels(threshold: Threshold, labels: Tensor) -> float | Tensor:
    """The threshold, or that of the class of every pixel; any where a pixel has no label."""
    return threshold if isinstance(threshold, float) else threshold[labels.masked_fill(labels == IGNORE, 0)]


def _lowest(counts: Float[Tensor, "n bins 2"], precision: float) -> Float[Tensor, " n"]:
    """The lower edge of the lowest bin with pixels from which upwards this share is right; else that of the last."""
    from_top = counts.flip(1).cumsum(dim=1).flip(1)
    enough = (from_top[..., 1] >= precision * from_top[..., 0]) & (counts[..., 0] > 0)
    lowest = torch.where(enough.any(dim=1), enough.int().argmax(dim=1), NUM_BINS - 1)
    return (lowest / NUM_BINS).float()
