"""Pixel-level contrast against a class-wise memory bank, with pseudo-labels and entropy.

Alonso, Sabater, Ferstl, Montesano and Murillo, Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive
Learning from a Class-wise Memory Bank, ICCV 2021, https://arxiv.org/abs/2104.13415.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from fewmask.augment import STRONG, WEAK, Augmentation, Probability, View, augment, augment_apart
from fewmask.data.batch import Batch, Labeled, Unlabeled
from fewmask.methods.base import Alarm, Method, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.groups import Group
from fewmask.methods.parts.bank_contrast import BankContrast, BankContrastConfig
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm
from fewmask.methods.parts.gradients import gradient_share
from fewmask.methods.parts.learner import Learner
from fewmask.methods.parts.pseudo import Pseudo, most_likely
from fewmask.methods.parts.released_views import ReleasedViews
from fewmask.methods.plan import Now, first_step
from fewmask.models.contrast_heads import ContrastHeads
from fewmask.models.frequency import ClassFrequency
from fewmask.models.modes import in_eval_mode
from fewmask.models.segnet import SegNet, SegOutput
from fewmask.models.teacher import Teacher, average_momentum, cosine_momentum
from fewmask.models.weights import load_released_heads
from fewmask.ops.losses import cross_entropy, entropy
from fewmask.shapes import IGNORE

_ATTENTION_RATES = {"adamw": 0.01, "sgd": 1.0}


class ClassBankConfig(BankContrastConfig):
    """The settings of sections 3 and 4.2; every loss and every part of Table 8 has a switch."""

    name: str = "class_bank"

    pseudo_weight: float = Field(1.0, ge=0)
    """Weight of the cross-entropy with pseudo-labels."""
    entropy_weight: float = Field(0.01, ge=0)
    """Weight of the entropy of the student's predictions on unlabeled images."""
    contrast_weight: float = Field(0.1, ge=0)
    """Weight of the contrast, for its labeled and its unlabeled term each. The paper has one symbol for both
    (docs/differences.md: 6)."""
    warmup_share: Probability | None = None
    """Share of the run, from its start, without pseudo-labels and contrast. None: the paper's 2000 steps, but at most
    15 % of the run. The bank fills from half of this share on, as in the released code (docs/differences.md: 8)."""
    confidence_sharpening: float = Field(6.0, ge=0)
    """A pseudo-label counts with the teacher's confidence to this power."""
    num_views: int = Field(2, ge=1)
    """Number of strong views of every unlabeled image in a step."""
    class_balance: bool = True
    """Weights class c by sqrt(median / frequency_c), over labels and pseudo-labels."""
    teacher_momentum: float | None = Field(None, ge=0, lt=1)
    """Momentum at the start, from which it rises to 1. The paper's 0.995 averages 200 of 150000 steps. None: the same
    share of this run's steps, but at least 50 steps (0.98)."""
    momentum_rises: bool = True
    """Whether the momentum rises to 1, as in the paper. In a short run the teacher then ends behind the student."""
    predictor: Literal["student", "teacher"] = "student"
    """The network that is shipped and predicts. The paper tests the student; both are scored."""
    teacher_features: bool = True
    """Whether the bank holds the teacher's features; otherwise it holds the student's."""

    alarm_excess: float = Field(8.0, gt=0)
    """Warns when the share of a class in the pseudo-labels is more than this many times its share in the labels."""

    weak: Augmentation = WEAK
    """Augmentation of labeled images."""
    strong: Augmentation = STRONG
    """Augmentation of unlabeled images."""


class ClassBankMethod(Method):
    """Teacher and student, pseudo-labels, entropy, and positive-only contrast with a class-wise memory bank."""

    paper = "Alonso et al., ICCV 2021"
    Config = ClassBankConfig
    toy: ClassVar = {"dim": 16, "bank_slots": 16, "quality_threshold": 0.0, "warmup_share": 0.4}

    def __init__(self, config: ClassBankConfig, tools: Tools) -> None:
        super().__init__(tools)
        self.config = config
        net = tools.build_net()
        heads = ContrastHeads(tools.num_classes, net.feature_dim, config.dim)
        load_released_heads(heads, tools.net.weights)
        self.learner = Learner(net, heads)
        batch_statistics = config.deviates("teacher_on_batch_statistics")
        self.average = Teacher(self.learner, follow_buffers=not batch_statistics, train_mode=batch_statistics)
        self.contrast = BankContrast(config, tools)
        self.weak, self.strong = (
            ReleasedViews(**how.model_dump(), followed=config.followed, background=tools.background)
            for how in (config.weak, config.strong)
        )
        self.frequency = ClassFrequency(tools.num_classes, tools.num_labeled, tools.num_unlabeled, tools.accumulate)

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(networks=("student", "teacher") if config.predictor == "student" else ("teacher", "student"))

    @property
    def student(self) -> SegNet:
        return self.learner.net

    @property
    def teacher(self) -> SegNet:
        """The average of the student."""
        return self.average_learner.net

    @property
    def average_learner(self) -> Learner[ContrastHeads]:
        """The teacher with its heads."""
        return self.average.network  # type: ignore[return-value]

    def networks(self) -> dict[str, SegNet]:
        both = {"student": self.student, "teacher": self.teacher}
        return {name: both[name] for name in self.needs(self.config).networks}

    def special_groups(self) -> list[Group]:
        heads = self.learner.heads
        selectors = [*heads.prediction_selectors.parameters(), *heads.bank_selectors.parameters()]
        rate = self.config.attention_rate
        groups = [Group("attention", selectors, _ATTENTION_RATES[self.tools.optimizer] if rate is None else rate)]
        if self.config.heads_rate != 1:
            both = [*heads.projector.parameters(), *heads.predictor.parameters()]
            groups.append(Group("heads", both, self.config.heads_rate))
        return groups

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm(self.config.alarm_excess)]

    def replicated_buffers(self) -> list[str]:
        return [f"contrast.bank.{name}" for name, _ in self.contrast.bank.named_buffers()]

    def phases(self, stage: str, steps: int) -> list[int]:
        """The step at which the bank begins to fill, and the step at which pseudo-labels and contrast begin."""
        share = self.config.warmup_share
        share = _warmup_share(steps) if share is None else share
        return [first_step(share / 2, steps), first_step(share, steps)]

    def step(self, batch: Batch, now: Now) -> Step:
        config = self.config
        assert batch.unlabeled is not None
        fills_bank, warm = config.contrast_weight > 0 and now.phase >= 1, now.phase >= 2
        learns_pseudo = config.pseudo_weight > 0 and warm

        self.teacher.check_trains(batch.target.images)  # the bank reads them later in the run
        unlabeled_output, target_output = self._teacher_outputs(batch, fills_bank)
        valid = batch.unlabeled.valid | config.deviates("labels_on_padding")
        pseudo = most_likely(unlabeled_output.logits, valid)  # Eq. 5
        self.frequency.observe(batch.labeled.labels)
        if learns_pseudo:
            self.frequency.observe_pseudo(pseudo.labels)
        weights = self.frequency.weights() if config.class_balance else None

        labeled = augment_apart(self.weak, batch.domains, self.tools.num_classes)
        strong = self._strong_views(batch.unlabeled, pseudo)
        labeled_output, strong_output = self.student(labeled.images), self.student(strong.images)

        sharpened = strong.confidence**config.confidence_sharpening
        losses = {"sup": cross_entropy(labeled_output.logits, labeled.labels, weights)}
        if config.entropy_weight > 0:
            losses["entropy"] = config.entropy_weight * entropy(strong_output.logits, strong.labels != IGNORE)
        if learns_pseudo:
            pseudo_loss = cross_entropy(strong_output.logits, strong.labels, weights, sharpened)
            losses["pseudo"] = config.pseudo_weight * pseudo_loss
        if fills_bank:
            self._fill_bank(batch.target, target_output)
        watch = {
            "confidence": pseudo.mean_over_images(pseudo.confidence),
            "bank_filled": self.contrast.bank.filled / config.bank_slots,
        }
        if learns_pseudo:
            watch[EXCESS] = self.frequency.excess()
        if config.contrast_weight > 0 and warm:
            target, watch["bank_attended"] = self.contrast.target(self.learner, now)
            of_labeled = self.contrast(self.learner, labeled_output, labeled.labels, target)
            of_unlabeled = self.contrast(self.learner, strong_output, strong.labels, target)
            losses["contrast_labeled"] = config.contrast_weight * of_labeled.loss
            losses["contrast_unlabeled"] = config.contrast_weight * of_unlabeled.loss
            watch |= self.contrast.curves(of_labeled.attention + of_unlabeled.attention)
            if config.watch_gradient:
                terms = losses["contrast_labeled"], losses["sup"]
                watch["contrast_gradient"] = gradient_share(*terms, labeled_output.features)
        return Step(losses, watch)

    def after_update(self, now: Now) -> None:
        start = self.config.teacher_momentum
        if start is None:
            start = 1 - 1 / max(50.0, 200 * now.steps / 150_000)
        if self.config.momentum_rises:
            momentum = cosine_momentum(now.progress, now.steps, start)
        else:
            momentum = average_momentum(now.progress, now.steps).clamp(max=start)
        self.average.follow(self.learner, momentum)

    @torch.no_grad()
    def _teacher_outputs(self, batch: Batch, fills_bank: bool) -> tuple[SegOutput, SegOutput | None]:
        """The teacher's output for the unlabeled images, and for the labeled target images if the bank needs them.

        Both go through the network in one pass, which takes half the launches of two and gives the same up to rounding.
        The second output is None if no such pass is possible: images differ in size, or the teacher normalizes by the
        batch.
        """
        assert batch.unlabeled is not None
        unlabeled, target = batch.unlabeled.images, batch.target.images
        reads_both = fills_bank and self.config.teacher_features and not self.average.train_mode
        if not reads_both or unlabeled.shape[1:] != target.shape[1:]:
            return self.teacher(unlabeled), None
        logits, features = self.teacher(torch.cat([unlabeled, target]))
        first = len(unlabeled)
        return SegOutput(logits[:first], features[:first]), SegOutput(logits[first:], features[first:])

    def _strong_views(self, unlabeled: Unlabeled, pseudo: Pseudo) -> View:
        """Every view of every unlabeled image with its pseudo-labels, in one batch."""
        views = [
            augment(self.strong, unlabeled.images, pseudo.labels, self.tools.num_classes, pseudo.confidence)
            for _ in range(self.config.num_views)
        ]
        return View(*(torch.cat(maps) for maps in zip(*views, strict=True)))

    def _fill_bank(self, labeled: Labeled, output: SegOutput | None) -> None:
        """Fills the bank from labeled target images as they are; `output` is their output if it is known.

        The released code augments these images weakly (docs/differences.md: 10). Without teacher features, the student
        gives the features.
        """
        learner = self.average_learner if self.config.teacher_features else self.learner
        with in_eval_mode(self.learner), torch.no_grad():
            self.contrast.fill(learner, learner.net(labeled.images) if output is None else output, labeled.labels)


def _warmup_share(steps: int) -> float:
    """The paper's share of steps would be 27 of 2000, when the teacher knows nothing yet (see docs/results.md)."""
    return min(2000 / steps, 0.15)
