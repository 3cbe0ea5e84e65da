"""Patch-wise contrast across domains: patches that are similar in label space are drawn together in feature space.

Liu et al., Domain Adaptation for Semantic Segmentation via Patch-Wise Contrastive Learning, 2021,
https://arxiv.org/abs/2104.11056. This is our reading: code and full text were not available.

The abstract and the start of the introduction say: a contrastive loss aligns, across domains, the features of patches
whose labels are structurally similar. Patches are divided into sub-patches at several levels and compared in label
space. Images without labels take part with pseudo-labels.
Our choices are the size of the patches, the levels (1, 4 and 16 parts), the class histograms and their L1 distance,
both thresholds, InfoNCE in both directions and its temperature, the weight, the projection head (two layers on the
average of a patch's features), the confidence of a pseudo-label, and that half of a patch's pixels must be labeled.
Pseudo-labels are those of the network in this step, without gradient: there is no second store of labels and no
teacher. Pseudo-labels serve only the comparison of patches, not a cross-entropy.
"""

from typing import Any, ClassVar, NamedTuple

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fewmask.augment import Probability
from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.domain_baselines import Joint, JointConfig
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.pseudo import most_likely
from fewmask.methods.plan import Now
from fewmask.models.projection import MapProjector
from fewmask.ops.contrast import disparity, info_nce, label_patches, patch_grid
from fewmask.shapes import IGNORE, Bool, Features, Labels, Scalar


class PatchContrastConfig(JointConfig):
    """The size of patches, which patches are alike, and how patches are contrasted."""

    name: str = "patch_contrast"
    patch_size: int | None = Field(None, ge=4)
    """Side of a patch in pixels, at most the images' shorter side. None: a quarter of the shorter side, 128 of 512."""
    positive_disparity: Probability = 0.2
    """Patches of the two domains that differ by less are positives."""
    negative_disparity: Probability = 0.6
    """Patches of the two domains that differ by more are negatives."""
    labeled_share: Probability = 0.5
    """A patch takes part if at least this share of its pixels has a label or a pseudo-label."""
    confidence_threshold: Probability = 0.9
    """A pixel has a pseudo-label if the network's confidence is above this."""
    temperature: float = Field(0.07, gt=0)
    """Cosines are divided by the temperature."""
    contrast_weight: float = Field(0.1, ge=0)
    """Weight of the contrast of patches."""
    dim: int = Field(128, ge=1)
    """Length of the contrasted vectors."""


class _Patches(NamedTuple):
    """Patches of one domain: projected features, descriptors of labels, and whether enough of a patch is labeled."""

    vectors: Tensor
    descriptors: Tensor
    counts: Tensor


class PatchContrast(Joint):
    """Joint training, with a contrast between the patches of the source and those of the target."""

    paper = "Liu et al., 2021 (our reading)"
    Config = PatchContrastConfig
    toy: ClassVar = {"dim": 16, "patch_size": 8, "confidence_threshold": 0.3}
    config: PatchContrastConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(source="required")

    def __init__(self, config: PatchContrastConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.projector = MapProjector(self.net.feature_dim, config.dim, layers=2)

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        view = self.view(batch)
        num_target = len(batch.target.images)
        labeled, unlabeled = self.net(view.images), self.net(batch.unlabeled.images)
        pseudo = most_likely(unlabeled.logits, batch.unlabeled.valid)
        pseudo_labels = pseudo.surer_than(self.config.confidence_threshold)

        source = self._patches(labeled.features[num_target:], view.labels[num_target:])
        labeled_target = self._patches(labeled.features[:num_target], view.labels[:num_target])
        unlabeled_target = self._patches(unlabeled.features, pseudo_labels)
        target = _Patches(*(torch.cat(pair) for pair in zip(labeled_target, unlabeled_target, strict=True)))
        positives, negatives = self._pairs(source, target)
        losses = {
            "sup": self.supervised_loss(labeled.logits, view),
            "patch": self.config.contrast_weight * self._contrast(source, target, positives, negatives),
        }
        watch = {
            "pseudo_labeled": pseudo.mean_over_images(pseudo_labels != IGNORE),
            "patches_source": source.counts.float().mean(),
            "patches_target": target.counts.float().mean(),
            "patches_contrasted": (positives.any(dim=1) & negatives.any(dim=1)).float().mean(),
            EXCESS: excess_of(pseudo.labels, self.frequency),  # of all pixels, because at times none is sure
        }
        return Step(losses, watch)

    def _patches(self, features: Features, labels: Labels) -> _Patches:
        bottom, right = (-length % self.net.stride for length in labels.shape[-2:])
        labels = F.pad(labels, (0, right, 0, bottom), value=IGNORE)  # as the network pads the images
        height, width = labels.shape[-2:]
        grid = patch_grid(height, width, self.config.patch_size or max(1, min(height, width) // 4))
        vectors = self.projector(F.adaptive_avg_pool2d(features, grid))
        shown = label_patches(labels, grid, self.tools.num_classes)
        return _Patches(
            rearrange(vectors, "b d r c -> (b r c) d"),
            rearrange(shown.descriptors, "b p e -> (b p) e"),
            rearrange(shown.labeled_share, "b p -> (b p)") >= self.config.labeled_share,
        )

    def _pairs(self, source: _Patches, target: _Patches) -> tuple[Bool[Tensor, "s t"], Bool[Tensor, "s t"]]:
        """Which patches of the two domains are alike, and which are different."""
        differ = disparity(source.descriptors, target.descriptors)
        comparable = source.counts[:, None] & target.counts
        positives = comparable & (differ < self.config.positive_disparity)
        negatives = comparable & (differ > self.config.negative_disparity)
        return positives, negatives

    def _contrast(self, source: _Patches, target: _Patches, positives: Tensor, negatives: Tensor) -> Scalar:
        """The mean of both directions: source patches among those of the target, and the other way round."""
        temperature = self.config.temperature
        from_source = info_nce(source.vectors, target.vectors, positives, negatives, temperature)
        from_target = info_nce(target.vectors, source.vectors, positives.T, negatives.T, temperature)
        return (from_source + from_target) / 2
