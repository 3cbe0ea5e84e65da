"""Error-correcting supervision: a second network learns to correct the first, and makes targets for unlabeled images.

Mendel et al., Semi-supervised Segmentation based on Error-correcting Supervision, ECCV 2020,
https://doi.org/10.1007/978-3-030-58526-6_9. This is our reading: code and full text were not available.

The abstract says: a correction network sees the image and its segmentation. On labeled images this network learns to
spot what is right and to amend what is wrong, and regularizes the segmentation network. On unlabeled images the two
networks together make the target, and the corrector's certainty weights the loss.
We recall, but could not verify, the three losses, and that the corrector has one more output than classes, for "right".
Our choices are the corrector (DeepLabv3+ on a ResNet-18, random weights, no dropout), its optimizer, all weights, when
the unlabeled images join, and that these are not augmented. Another choice: every pass of the corrector normalizes by
its batch, but only the pass that trains it counts in the running statistics of its BatchNorms.
"""

from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from fewmask.augment import Probability
from fewmask.data.batch import Batch, Unlabeled
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.groups import Group
from fewmask.methods.parts.adversary import critic_group
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.plan import Now, first_step
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.corrector import Corrections, Corrector
from fewmask.models.discriminator import held_constant
from fewmask.ops.losses import cross_entropy
from fewmask.shapes import IGNORE, Confidence, Labels, Logits, Scalar, Valid


class ErrorCorrectionConfig(SupervisedConfig):
    """The corrector, the weights of the terms, and when the unlabeled images join."""

    name: str = "ecs"
    class_balance: bool = False
    corrector_encoder: str = "resnet18"
    """Encoder of the corrector, named as in net.encoder."""
    correct_weight: float = Field(0.2, gt=0)
    """Weight of rightly predicted pixels in the corrector's loss; most pixels are of this kind."""
    regularizer_weight: float = Field(0.1, ge=0)
    """Weight of the term that asks for predictions which the corrector calls correct."""
    pseudo_weight: float = Field(1.0, ge=0)
    """Weight of the cross-entropy with the targets of unlabeled images."""
    unlabeled_start: Probability = 0.1
    """Share of the run after which the unlabeled images join."""
    corrector_rate: float = Field(1e-4, gt=0)
    """Learning rate of the corrector's Adam, whatever the segmenter's learning rate is."""


class ErrorCorrection(Supervised):
    """Supervised training with a corrector, which judges the predictions for labeled and unlabeled images.

    Both networks learn in the same step. The segmenter's terms send no gradient to the corrector's parameters, and the
    corrector's term sends none to the segmenter.
    """

    paper = "Mendel et al., ECCV 2020 (our reading)"
    Config = ErrorCorrectionConfig
    toy: ClassVar = {"corrector_encoder": "test_resnet", "unlabeled_start": 0.2}
    config: ErrorCorrectionConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs()

    def __init__(self, config: ErrorCorrectionConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.corrector = Corrector(config.corrector_encoder, tools.num_classes)

    def special_groups(self) -> list[Group]:
        return [critic_group(self.config.corrector_rate, self.corrector)]

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def phases(self, stage: str, steps: int) -> list[int]:
        return [first_step(self.config.unlabeled_start, steps)]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        for network in (self.net, self.corrector):  # both see the unlabeled images later in the run
            network.check_trains(batch.unlabeled.images)
        view = self.view(batch)
        logits = self.net(view.images).logits
        probabilities = logits.float().softmax(dim=1)
        judgments = held_constant(self.corrector, view.images, probabilities)
        corrections = self.corrector(view.images, probabilities.detach())
        losses = {
            "sup": self.supervised_loss(logits, view),
            "regularizer": self.config.regularizer_weight * self._called_wrong(judgments, view.labels),
            "corrector": self._corrector_loss(corrections, correction_targets(logits, view.labels)),
        }
        if not now.phase:
            return Step(losses, {})
        pseudo, watch = self._pseudo(batch.unlabeled)
        return Step(losses | {"pseudo": self.config.pseudo_weight * pseudo}, watch)

    def _called_wrong(self, judgments: Corrections, labels: Labels) -> Scalar:
        """How far the corrector is from calling the labeled pixels correct."""
        correct = torch.full_like(labels, self.tools.num_classes)
        return cross_entropy(judgments, correct.masked_fill(labels == IGNORE, IGNORE))

    def _corrector_loss(self, corrections: Corrections, targets: Labels) -> Scalar:
        weights = torch.ones(self.tools.num_classes + 1, device=targets.device)
        weights[-1].fill_(self.config.correct_weight)  # `weights[-1] = number` would wait for a GPU
        return cross_entropy(corrections, targets, weights, divisor="weights")

    def _pseudo(self, unlabeled: Unlabeled) -> tuple[Scalar, dict[str, Tensor]]:
        """The loss of the unlabeled images, and curves: the share of their pixels called correct, and the excess."""
        logits = self.net(unlabeled.images).logits
        with torch.no_grad():
            judgments = held_constant(self.corrector, unlabeled.images, logits.float().softmax(dim=1))
            target = corrected(logits, judgments)
            labels = target.labels.masked_fill(~unlabeled.valid, IGNORE)
            called_correct = (target.called_correct & unlabeled.valid).sum() / unlabeled.valid.sum().clamp(min=1)
        watch = {"called_correct": called_correct, EXCESS: excess_of(labels, self.frequency)}
        return cross_entropy(logits, labels, pixel_weights=target.certainty), watch


class Target(NamedTuple):
    """The target of every pixel, how sure the corrector is, and where the corrector keeps the prediction."""

    labels: Labels
    certainty: Confidence
    called_correct: Valid


def correction_targets(logits: Logits, labels: Labels) -> Labels:
    """What the corrector should say of predictions: k, for "correct", where they are right; otherwise the label."""
    return torch.where(logits.argmax(dim=1) == labels, logits.shape[1], labels)


def corrected(logits: Logits, judgments: Corrections) -> Target:
    """The predicted class where the corrector calls it correct; otherwise the corrector's best class."""
    certainty, judged = judgments.float().softmax(dim=1).max(dim=1)
    called_correct = judged == logits.shape[1]
    return Target(torch.where(called_correct, logits.argmax(dim=1), judged), certainty, called_correct)
