"""Weak-to-strong consistency: what a network is sure of in a weak view teaches strong views of the same geometry.

Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020,
https://arxiv.org/abs/2001.07685; for segmentation Yang et al., Revisiting Weak-to-Strong Consistency in Semi-Supervised
Semantic Segmentation (UniMatch), CVPR 2023, https://arxiv.org/abs/2208.09910. The numbers are those of UniMatch's
released code (LiheYoung/UniMatch). Copies of rare labeled classes are as in Hu et al., NeurIPS 2021,
https://arxiv.org/abs/2110.05474, with probabilities of our own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fewmask.augment import Augmentation, Probability, View, augment_unlabeled
from fewmask.augment.mix import CopyClasses, CutMix, Pasting
from fewmask.augment.steps import Step, take
from fewmask.data.batch import Batch, Unlabeled
from fewmask.methods.base import MethodConfig
from fewmask.methods.parts.auto_threshold import Threshold, ThresholdConfig, is_sure
from fewmask.methods.parts.collapse import EXCESS, excess_of
from fewmask.methods.parts.own_views import own_views
from fewmask.methods.parts.pseudo import most_likely
from fewmask.methods.parts.pseudo_balance import PseudoBalanceConfig
from fewmask.methods.supervised import SupervisedConfig
from fewmask.models.frequency import ClassFrequency
from fewmask.ops.losses import cross_entropy
from fewmask.shapes import Logits, PerClass, Scalar

COLORS = Augmentation(
    flip_probability=0.0,
    scale_probability=0.0,
    jitter_probability=0.8,
    brightness=0.5,
    contrast=0.5,
    saturation=0.5,
    hue=0.25,
    grayscale_probability=0.2,
    blur_probability=0.5,
    blur_sigma=(0.1, 2.0),
    classmix_probability=0.0,
)
"""The colors of a strong view."""

OWN: dict[str, Any] = {"class_balance": False, "weak": own_views(scale_range=(0.5, 2.0))}
"""The labeled term of these papers: no class weights, and views that are scaled by 0.5 to 2, cropped and flipped."""

_AREAS, _RATIOS = (0.02, 0.4), (0.3, 1 / 0.3)


class StrongViewConfig(SupervisedConfig):
    """How strong views are made.

    `weak` makes the views of labeled images and the weak views of unlabeled images.
    """

    strong: Augmentation = COLORS
    """Augmentation of a strong view after the weak one, of which only color and blur apply."""
    cutmix_probability: Probability = 0.5
    """Probability that a strong view receives a box of its neighbor in the batch, which covers 2 % to 40 %."""


class RarePasteConfig(MethodConfig):
    """What is pasted into unlabeled images."""

    rare_paste_probability: Probability = 0.0
    """Probability that the labeled pixels of the rarest class, with their labels, are pasted into a strong view [OURS].
    A class c that is rarer than the median has this times sqrt(f_rarest / f_c); more frequent classes are never
    pasted."""


class WeakToStrongConfig(StrongViewConfig, RarePasteConfig, ThresholdConfig, PseudoBalanceConfig):
    """How strong views are made, what is pasted into them, which of their pixels teach, and how their classes weigh."""


def weak_view(config: SupervisedConfig, unlabeled: Unlabeled) -> View:
    """A weak view of every unlabeled image, without labels."""
    images, valid = augment_unlabeled(config.weak, unlabeled)
    return View.of(images, valid=valid)


def pseudo_labeled(weak: View, logits: Logits) -> View:
    """The view with what these logits say of it; no gradient reaches them."""
    pseudo = most_likely(logits, weak.valid)
    return weak.with_pseudo_labels(pseudo.labels, pseudo.confidence)


def strong_view(config: StrongViewConfig, weak: View, pasted: Sequence[Step] = ()) -> View:
    """One strong view of every image of a pseudo-labeled view, after the steps of `rare_paste`, if there are some."""
    colored, box = drawn_strong_view(config, take(pasted, weak))
    return box(colored)


def rare_paste(config: RarePasteConfig, batch: Batch, labeled: View, frequency: ClassFrequency) -> list[Step]:
    """The step that pastes labeled pixels of rare classes, as `rare_paste_probability` says.

    Args:
        config: the settings.
        batch: says which images of the labeled view are of the target; nothing is pasted from a source domain.
        labeled: the views of the labeled images, the target's first; their labels are true, and their confidence is 1.
        frequency: the weights of the classes, in which sqrt(median / f_c) is above 1 for rare ones.
    """
    if not config.rare_paste_probability:
        return []
    weights = frequency.weights()
    chances = config.rare_paste_probability * torch.where(weights > 1, weights / weights.amax(), 0.0)
    target = View(*(maps[: len(batch.target.images)] for maps in labeled))
    return [CopyClasses(chances, partner=target)]


def drawn_strong_view(config: StrongViewConfig, weak: View) -> tuple[View, Pasting]:
    """The weak view in strong colors, and the boxes that make it a strong view, for which labels may be changed."""
    colored = take(config.strong.colors(), weak)
    return colored, CutMix(config.cutmix_probability, _AREAS, _RATIOS).draw(colored)


def sure_cross_entropy(
    logits: Logits, view: View, threshold: Threshold, class_weights: PerClass | None = None
) -> Scalar:
    """Cross-entropy with the labels that are at least this sure, summed and divided by the number of all labels."""
    return cross_entropy(logits, view.labels, class_weights, is_sure(view, threshold).float())


def mean_of_views(
    logits: Logits, views: Sequence[View], threshold: Threshold, class_weights: PerClass | None = None
) -> Scalar:
    """The mean of the losses of several views, whose logits follow each other in one batch."""
    losses = [
        sure_cross_entropy(own_logits, view, threshold, class_weights)
        for own_logits, view in zip(logits.chunk(len(views)), views, strict=True)
    ]
    return torch.stack(losses).mean()


def curves(weak: View, threshold: Threshold, frequency: ClassFrequency) -> dict[str, Tensor]:
    """The share of the valid pixels that teach, the curve of the alarm of a collapse, and thresholds that are found."""
    sure = weak.valid & is_sure(weak, threshold)
    found = {} if isinstance(threshold, float) else {"threshold": threshold}
    return found | {
        "sure": sure.sum() / weak.valid.sum().clamp(min=1),
        EXCESS: excess_of(weak.labels, frequency),
    }
