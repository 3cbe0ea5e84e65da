"""AugSeg: a few random color changes, and labeled boxes in the images that a teacher is unsure of.

Zhao, Yang, Long, Pi, Zhou and Wang, Augmentation Matters: A Simple-yet-Effective Approach to Semi-supervised Semantic
Segmentation, CVPR 2023, https://arxiv.org/abs/2212.04976. The settings are those of the released code
(ZhenZHAO/AugSeg): the threshold for Pascal VOC, the momentum for Cityscapes.
"""

import math
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fewmask.augment import Probability, View
from fewmask.augment.color import Blur, ColorStep, Jitter, SomeOf
from fewmask.augment.mix import BetaCutMix
from fewmask.augment.steps import take
from fewmask.augment.tone import Autocontrast, Enhance, Equalize, Posterize, Solarize
from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs
from fewmask.methods.course import Step
from fewmask.methods.parts.auto_threshold import ThresholdConfig, Thresholded, finds_threshold
from fewmask.methods.parts.collapse import collapse_alarm
from fewmask.methods.parts.mean_teacher import MeanTeacher, MeanTeacherConfig
from fewmask.methods.parts.pseudo_balance import PseudoBalanceConfig, PseudoBalanced
from fewmask.methods.parts.weak_to_strong import (
    OWN,
    RarePasteConfig,
    curves,
    pseudo_labeled,
    rare_paste,
    sure_cross_entropy,
    weak_view,
)
from fewmask.methods.plan import Now
from fewmask.models.teacher import average_momentum
from fewmask.shapes import Logits, Valid

_COLORS: list[ColorStep] = [
    Jitter(0.0),  # the identity
    Autocontrast(),
    Equalize(),
    Blur(1.0, (0.1, 2.0)),
    *(Enhance(of) for of in ("contrast", "brightness", "saturation", "sharpness")),
    Jitter(1.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.5),
    Posterize(bits_range=(4, 7)),
    Solarize(threshold_range=(1 / 255, 1.0)),
]


class AugSegConfig(MeanTeacherConfig, RarePasteConfig, ThresholdConfig, PseudoBalanceConfig):
    """The color changes, the boxes, and which pixels of the mixed images teach."""

    name: str = "augseg"
    teacher_momentum: float = Field(0.996, ge=0, lt=1)
    """Momentum with which the teacher averages the student; it is smaller in the first steps. The original has 0.996 on
    Cityscapes and 0.999 on Pascal VOC."""
    copied_share: Probability = 1 / 80
    """Share of the run, from its start, in which the teacher is a copy of the student: the original's first epoch."""
    most_colors: int = Field(3, ge=1, le=len(_COLORS))
    """The colors of an unlabeled image are changed in 1 to this many ways, out of 11."""
    label_aid: bool = True
    """Whether boxes of labeled images are pasted into unlabeled images; the surer the teacher is, the fewer."""
    pseudo_balance: bool = True
    """Whether the class weights of `class_balance` also weigh pseudo-labels, and count them, as in `class_bank` [OURS].
    Without it, `augseg` lost points in rare classes and on images that look unlike the labeled ones
    (docs/results/search.md)."""
    pseudo_weight: float = Field(1.0, ge=0)
    """Weight of the cross-entropy with pseudo-labels. The original has 1, and 2 in one of its runs on Cityscapes."""


class AugSeg(Thresholded, PseudoBalanced, MeanTeacher):
    """Cross-entropy on labeled images, and on unlabeled images with random colors and boxes of labeled images.

    The teacher averages the buffers too, labels in eval mode, and is shipped. Labeled and mixed images go through the
    student together. Differences from the released code: the color changes of an image are all different and come in
    one order, while the original draws with replacement; areas of boxes are drawn per image, and the boxes lie within
    the image; padding counts in no mean. With a source domain, boxes come from labeled images of the target.
    """

    paper = "Zhao et al., CVPR 2023"
    Config = AugSegConfig
    own: ClassVar = OWN
    toy: ClassVar = {"confidence_threshold": 0.3}
    config: AugSegConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(min_unlabeled_batch=2, held_out=finds_threshold(config), networks=("teacher", "student"))

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        config, threshold = self.config, self.threshold(batch, self.teacher)
        labeled, weak = self.view(batch), weak_view(config, batch.unlabeled)
        with torch.no_grad():
            logits = self.teacher(weak.images).logits
        weak = pseudo_labeled(weak, logits)
        pasted = take(rare_paste(config, batch, labeled, self.frequency), weak)
        mixed = self._mixed(
            pasted, trust(logits, weak.valid), View(*(maps[: len(batch.target.images)] for maps in labeled))
        )
        both = self.net(torch.cat([labeled.images, mixed.images])).logits
        labeled_logits, mixed_logits = both.split([len(labeled.images), len(mixed.images)])
        losses = {
            "sup": self.supervised_loss(labeled_logits, labeled),
            "pseudo": config.pseudo_weight * sure_cross_entropy(mixed_logits, mixed, threshold, self.pseudo_weights()),
        }
        return Step(losses, curves(weak, threshold, self.frequency))

    def after_update(self, now: Now) -> None:
        momentum = average_momentum(now.progress, now.steps).clamp(max=self.config.teacher_momentum)
        self.average.follow(self.net, torch.where(now.progress < self.config.copied_share, 0.0, momentum))

    def _mixed(self, weak: View, trust: Float[Tensor, " b"], labeled: View) -> View:
        """Pseudo-labeled images with changed colors, boxes of labeled images, and then boxes of each other."""
        mixed = take([SomeOf(_COLORS, fewest=1, most=self.config.most_colors)], weak)
        aided = take([BetaCutMix(8, 2, 1 - trust, partner=labeled)], mixed) if self.config.label_aid else mixed
        return take([BetaCutMix(4, 4, partner=aided.shuffled())], mixed)


@torch.no_grad()
def trust(logits: Logits, valid: Valid) -> Float[Tensor, " b"]:
    """How sure the logits are of each image, in [0, 1]: the mean of (1 - entropy / ln k) times the largest probability.

    The mean is over valid pixels; an image without any has 0.
    """
    log_probabilities = logits.float().log_softmax(dim=1)
    probabilities = log_probabilities.exp()
    entropy = -(log_probabilities * probabilities).sum(dim=1) / math.log(max(2, logits.shape[1]))
    sure = (1 - entropy) * probabilities.amax(dim=1)
    return (torch.where(valid, sure, 0.0).sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1)).clamp(0, 1)
