"""Adversarial learning: a discriminator of class maps makes predictions look true, and says where they do.

Hung et al., Adversarial Learning for Semi-Supervised Semantic Segmentation, BMVC 2018,
https://arxiv.org/abs/1802.07934. The settings are those of the released code (hfslyc/AdvSemiSeg) as its README runs it.

Our choices: the true class maps are those of the same batch, while the released code draws a second batch. The padding
of an unlabeled image counts in no loss. Scores are upsampled without aligned corners, which is PyTorch's default today.
Labeled and unlabeled images are augmented alike, by the weak augmentation.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fewmask.augment import Probability, augment_unlabeled
from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.groups import Group
from fewmask.methods.parts.adversary import critic_group, telling_apart
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.own_views import own_views
from fewmask.methods.plan import Now, first_step
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.discriminator import MapDiscriminator, held_constant, label_maps
from fewmask.ops.losses import binary_cross_entropy, cross_entropy
from fewmask.shapes import IGNORE, Float

TRUE = 1.0
"""The discriminator's target for maps of labels; its target for predictions is 0."""


class AdversarialConfig(SupervisedConfig):
    """The weights of the loss terms, and the pixels of unlabeled images that are learned from."""

    name: str = "adversarial"
    class_balance: bool = False
    adv_weight: float = Field(0.01, ge=0)
    """Weight of the term that asks for true-looking predictions of labeled images."""
    adv_unlabeled_weight: float = Field(0.001, ge=0)
    """Weight of the term that asks for true-looking predictions of unlabeled images."""
    semi_weight: float = Field(0.1, ge=0)
    """Weight of the cross-entropy with pseudo-labels."""
    semi_start: Probability = 0.25
    """Share of the steps before the term `semi` begins; the original waits for 5000 of 20000."""
    threshold: Probability = 0.2
    """A pixel learns its own prediction if the discriminator calls it true with at least this probability."""
    discriminator_rate: float = Field(1e-4, gt=0)
    """Learning rate of the discriminator's Adam, whatever the segmenter's learning rate is."""


class Adversarial(Supervised):
    """Supervised training, with a discriminator that tells predicted class maps from those of labels, pixel by pixel.

    Segmenter and discriminator learn in the same step. The segmenter's terms send no gradient to the
    discriminator's parameters, and the discriminator's term sends none to the segmenter.
    """

    paper = "Hung et al., BMVC 2018"
    Config = AdversarialConfig
    own: ClassVar = {"weak": own_views(flips=False)}  # as its README runs it
    config: AdversarialConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs()

    def __init__(self, config: AdversarialConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.discriminator = MapDiscriminator(tools.num_classes)

    def special_groups(self) -> list[Group]:
        return [critic_group(self.config.discriminator_rate, self.discriminator)]

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def phases(self, stage: str, steps: int) -> list[int]:
        return [first_step(self.config.semi_start, steps)]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        config, size = self.config, batch.unlabeled.valid.shape[-2:]
        view, (images, valid) = self.view(batch), augment_unlabeled(self.config.weak, batch.unlabeled)
        labeled_logits, logits = self.net(view.images).logits, self.net(images).logits
        predicted = torch.cat([labeled_logits, logits]).float().softmax(dim=1)
        true = label_maps(view.labels, self.tools.num_classes)
        is_labeled = view.labels != IGNORE

        scores = _per_pixel(held_constant(self.discriminator, predicted), size)
        labeled_scores, unlabeled_scores = scores[: len(labeled_logits)], scores[len(labeled_logits) :]
        predicted_scores = _per_pixel(self.discriminator(predicted.detach()), size)
        true_scores = _per_pixel(self.discriminator(true), size)

        passed = (unlabeled_scores.sigmoid() >= config.threshold) & valid
        predicted_labels = logits.argmax(dim=1)
        pseudo_labels = predicted_labels.masked_fill(~passed, IGNORE)
        semi_weight = config.semi_weight if now.phase else 0.0
        is_image = torch.cat([is_labeled, valid])
        losses = {
            "sup": self.supervised_loss(labeled_logits, view),
            "adv_labeled": config.adv_weight * binary_cross_entropy(labeled_scores, TRUE, is_labeled),
            "adv_unlabeled": config.adv_unlabeled_weight * binary_cross_entropy(unlabeled_scores, TRUE, valid),
            "semi": semi_weight * cross_entropy(logits, pseudo_labels),
            "disc": telling_apart(predicted_scores, true_scores, is_image, is_labeled),
        }
        watch = {"passed_pixels": passed.sum() / valid.sum().clamp(min=1)}
        if now.phase:  # of all pixels, because at times none passes
            watch[EXCESS] = excess_of(predicted_labels.masked_fill(~valid, IGNORE), self.frequency)
        return Step(losses, watch)


def _per_pixel(scores: Float[Tensor, "b hp wp"], size: torch.Size) -> Float[Tensor, "b h w"]:
    """Upsamples the discriminator's logits per patch to logits per pixel, in float32."""
    return F.interpolate(scores[:, None].float(), size, mode="bilinear", align_corners=False).squeeze(1)
