"""U2PL: pixels with unreliable pseudo-labels teach too, as negatives of the classes that they are unlikely to be.

Wang et al., Semi-Supervised Semantic Segmentation Using Unreliable Pseudo-Labels, CVPR 2022,
https://arxiv.org/abs/2203.03884. What the text leaves open is as in the released code (Haochen-Wang409/U2PL) with its
settings for Pascal VOC.

The released loss has two slips that are not followed. It looks up the banks of absent classes, because it numbers the
classes that are present. And it asks that a negative of a class be labeled as this class (`negatives=released`).
Our choices: the teacher averages BatchNorm's statistics too and normalizes by them; in the original it averages
parameters, and its second pass, the one for the contrast, normalizes by the batch (`teacher_on_batch_statistics=true`
does so in both passes). The teacher averages from the first step on; in the original it begins as a copy of the student
after the part that is supervised alone. The contrast's percentiles are those of the cells that it
compares, and a class gets at most `new_negatives` negatives in a step. There is no auxiliary classifier.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from fewmask.augment import Probability, View
from fewmask.augment.mix import CutMix
from fewmask.data.batch import Batch, Unlabeled
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.parts import weak_to_strong
from fewmask.methods.parts.cells import Cells, as_rows, cells_of
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.mean_teacher import MeanTeacher, MeanTeacherConfig
from fewmask.methods.parts.weak_to_strong import pseudo_labeled, weak_view
from fewmask.methods.plan import Now, first_step
from fewmask.models.bank import ClassBank
from fewmask.models.projection import ConvProjector
from fewmask.models.segnet import SegOutput
from fewmask.models.teacher import average_momentum
from fewmask.ops.class_means import class_sums
from fewmask.ops.contrast import contrast_with_drawn_keys
from fewmask.ops.groups import membership
from fewmask.ops.losses import cross_entropy
from fewmask.ops.quantiles import quantiles
from fewmask.ops.sampling import draw_rows, draw_with_repeats
from fewmask.ops.unit import unit
from fewmask.shapes import IGNORE, Labels, Logits, Scalar


class U2PLConfig(MeanTeacherConfig):
    """Which pseudo-labels are reliable, and how the contrast draws its anchors and negatives."""

    name: str = "u2pl"
    supervised_share: Probability = 1 / 80
    """Share of the run, from its start, that is supervised alone. The original has 1 of 80 epochs on VOC, and none on
    Cityscapes."""
    unreliable_share: Probability = 0.2
    """Share of the unlabeled pixels, those with the highest entropy, that are unreliable at the start. It falls to 0
    over the run."""
    pseudo_weight: float = Field(1.0, ge=0)
    """Weight of the cross-entropy with reliable pseudo-labels, besides one over their share."""
    cutmix_probability: Probability = 0.5
    """Probability that half of an unlabeled image is pasted from its neighbor in the batch."""
    contrast_weight: float = Field(1.0, ge=0)
    """Weight of the contrast."""
    contrast_stride: int = Field(4, ge=1)
    """Stride in pixels of the grid on which features are compared; a finer map is sampled."""
    dim: int = Field(256, ge=1)
    """Length of the contrasted vectors."""
    temperature: float = Field(0.5, gt=0)
    """Similarities are divided by the temperature."""
    anchor_probability: Probability = 0.3
    """A pixel is an anchor of its class if the teacher gives this class more than this probability."""
    num_anchors: int = Field(256, ge=1)
    """The most anchors of a class in a step."""
    num_negatives: int = Field(50, ge=1)
    """Number of negatives of an anchor."""
    bank_slots: int = Field(30_000, ge=1)
    """Number of negatives of every class that are kept. They take 30 MB a class in memory and in every checkpoint. The
    original keeps 50000 of class 0."""
    new_negatives: int = Field(1024, ge=1)
    """The most negatives of a class that enter the bank in a step. The original has no limit; this number is ours."""
    low_rank: int = Field(3, ge=1)
    """A labeled pixel is a negative of the classes that the teacher ranks above this place, without its own. An
    unreliable pixel is one of the classes from this place on; the most likely class has place 0."""
    high_rank: int = Field(20, ge=1)
    """An unreliable pixel is a negative of the classes before this place."""
    negatives: Literal["paper", "released"] = "paper"
    """`released` also asks that a negative be labeled as the class that it is a negative of. This leaves no labeled
    negatives."""


class U2PL(MeanTeacher):
    """Reliable pseudo-labels of a teacher, and a contrast whose negatives are unreliable pixels of unlikely classes."""

    paper = "Wang et al., CVPR 2022"
    Config = U2PLConfig
    own: ClassVar = weak_to_strong.OWN
    toy: ClassVar = {
        "dim": 8,
        "bank_slots": 64,
        "num_anchors": 8,
        "num_negatives": 8,
        "low_rank": 2,
        "anchor_probability": 0.2,
        "supervised_share": 0.2,
    }
    config: U2PLConfig

    def __init__(self, config: U2PLConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.head = ConvProjector(self.net.feature_dim, config.dim, layers=2, dropout=0.1)
        self.average_head = self.average_of(self.head)
        self.bank = ClassBank(tools.num_classes, config.bank_slots, config.dim)

    @classmethod
    def needs(cls, config: Any) -> Needs:
        fewest = 2 if config.cutmix_probability else 1
        return Needs(min_unlabeled_batch=fewest, networks=("teacher", "student"))

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def phases(self, stage: str, steps: int) -> list[int]:
        return [first_step(self.config.supervised_share, steps)]

    def replicated_buffers(self) -> list[str]:
        return [f"bank.{name}" for name, _ in self.bank.named_buffers()]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        config, view = self.config, self.view(batch)
        if not now.phase:
            return Step({"sup": self.supervised_loss(self.net(view.images).logits, view)}, {})
        mixed, num_labeled = self._mixed(batch.unlabeled), len(view.images)
        images = torch.cat([view.images, mixed.images])
        output = self.net(images)
        with torch.no_grad():
            seen: SegOutput = self.teacher(images)
        unreliable = config.unreliable_share * (1 - now.progress.float())
        labels, kept = self._reliable(seen.logits[num_labeled:], mixed, unreliable)
        losses = {
            "sup": self.supervised_loss(output.logits[:num_labeled], view),
            "pseudo": config.pseudo_weight * cross_entropy(output.logits[num_labeled:], labels) / kept.clamp(min=1e-6),
        }
        watch = {"kept": kept, EXCESS: excess_of(mixed.labels, self.frequency)}
        if config.contrast_weight > 0:
            contrast = self._contrast(output, seen, torch.cat([view.labels, mixed.labels]), num_labeled, unreliable)
            losses["contrast"] = config.contrast_weight * contrast
            watch["bank_filled"] = self.bank.filled / config.bank_slots
        return Step(losses, watch)

    def after_update(self, now: Now) -> None:
        super().after_update(now)
        momentum = average_momentum(now.progress, now.steps).clamp(max=self.config.teacher_momentum)
        self.average_head.follow(self.head, momentum)

    @torch.no_grad()
    def _mixed(self, unlabeled: Unlabeled) -> View:
        """Weak views of the unlabeled images with the teacher's pseudo-labels, some of them mixed by CutMix."""
        weak = weak_view(self.config, unlabeled)
        weak = pseudo_labeled(weak, self.teacher(weak.images).logits)
        return CutMix(self.config.cutmix_probability)(weak)

    @torch.no_grad()
    def _reliable(self, logits: Logits, mixed: View, unreliable: Scalar) -> tuple[Labels, Scalar]:
        """The pseudo-labels without those of the highest entropy, and the share of the valid pixels that they are.

        The paper divides the loss by this share of the pixels of a batch; here padding counts in neither number.
        """
        counted = mixed.labels != IGNORE
        entropy = torch.special.entr(logits.float().softmax(dim=1)).sum(dim=1)
        (highest,) = quantiles(entropy, counted, (1 - unreliable)[None])
        labels = mixed.labels.masked_fill(entropy >= highest, IGNORE)
        return labels, (labels != IGNORE).sum() / counted.sum().clamp(min=1)

    def _contrast(
        self, output: SegOutput, seen: SegOutput, labels: Labels, num_labeled: int, unreliable: Scalar
    ) -> Scalar:
        """The contrast of reliable pixels with the mean of their class and with negatives from the bank.

        The bank takes the negatives of this step before it is read, as in the released code.
        """
        config, num_classes = self.config, self.tools.num_classes
        own = cells_of(self.net, output.features, labels, config.contrast_stride)
        rows = as_rows(self.head(own.features))
        with torch.no_grad():
            cells = cells_of(self.teacher, seen.features, labels, config.contrast_stride)
            is_labeled = torch.arange(len(labels), device=labels.device) < num_labeled
            is_labeled = is_labeled.repeat_interleave(len(cells.classes) // len(labels))
            low, high = self._certainty(cells, is_labeled, unreliable)
            features = as_rows(self.average_head.network(cells.features)).float()
            member = membership(cells.classes, num_classes).bool()
            reliable = member & low[:, None]

            are_negatives = self._negatives(cells.probabilities, member, is_labeled, high)
            negatives = draw_rows(are_negatives, min(config.new_negatives, config.bank_slots))
            self.bank.append(unit(features[negatives.rows]), negatives.found)

            anchors = draw_rows(reliable & (cells.probabilities > config.anchor_probability), config.num_anchors)
            drawn = draw_with_repeats(self.bank.filled, (anchors.rows.shape[1], config.num_negatives))
            sums = class_sums(features, reliable)  # in the direction of the mean
        return contrast_with_drawn_keys(
            rows, anchors, sums, self.bank.rows, self.bank.filled, drawn, reliable.any(dim=0), config.temperature
        )

    def _certainty(self, cells: Cells, is_labeled: Tensor, unreliable: Scalar) -> tuple[Tensor, Tensor]:
        """Which cells may be anchors, and which may be negatives [n]: all labeled ones, or by the teacher's entropy."""
        entropy = torch.special.entr(cells.probabilities).sum(dim=1)
        has_class = cells.classes != IGNORE
        counted = has_class & ~is_labeled
        lowest, highest = quantiles(entropy, counted, torch.stack([unreliable, 1 - unreliable])).unbind()
        return has_class & (is_labeled | (entropy <= lowest)), has_class & (is_labeled | (entropy >= highest))

    def _negatives(self, probabilities: Tensor, member: Tensor, is_labeled: Tensor, high: Tensor) -> Tensor:
        """Which cells are negatives of which classes [n k]."""
        config = self.config
        rank = probabilities.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        unlikely = (rank >= config.low_rank) & (rank < config.high_rank)
        confused = (rank < config.low_rank) & ~member
        negatives = torch.where(is_labeled[:, None], confused, unlikely) & high[:, None]
        return negatives & member if config.negatives == "released" else negatives
