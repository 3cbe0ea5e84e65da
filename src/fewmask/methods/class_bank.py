"""Pixel-level contrast against a class-wise memory bank, with pseudo-labels and entropy.

Alonso, Sabater, Ferstl, Montesano and Murillo, Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive
Learning from a Class-wise Memory Bank, ICCV 2021, https://arxiv.org/abs/2104.13415.
"""

from typing import Literal, NamedTuple

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from fewmask.data.batch import Batch, Labeled, Unlabeled
from fewmask.data.views import STRONG, WEAK, Augmentation, Probability, View, augment, augment_apart
from fewmask.methods.base import Method, MethodConfig, Now, Step, Tools
from fewmask.models.bank import ClassBank
from fewmask.models.clusters import ClassClusters
from fewmask.models.contrast_heads import ContrastHeads
from fewmask.models.frequency import ClassFrequency
from fewmask.models.modes import in_eval_mode, in_mode
from fewmask.models.segnet import SegNet, SegOutput, on_coarse_grid
from fewmask.models.teacher import Teacher, momentum_at
from fewmask.models.weights import load_released_heads
from fewmask.ops.contrast import BankMeans, bank_means, effective_share, mean_contrast
from fewmask.ops.losses import cross_entropy, entropy
from fewmask.shapes import IGNORE, Confidence, Features, Labels, RowClasses, Rows, Scalar

Deviation = Literal[
    "lowest_ranked",  # 1   the bank takes the lowest-scored features, not the highest
    "prediction_selectors_rank",  # 2   the selectors of the predictions rank the projections
    "constant_bank_weights",  # 3   the attention of bank rows is identically 1
    "teacher_on_batch_statistics",  # 15  parameters alone are averaged, and the teacher stays in train mode
    "heads_on_batch_statistics",  # 15  of that, what concerns the heads that fill the bank
]
"""Where the released code differs from the paper in what the method is (docs/differences.md)."""


class ClassBankConfig(MethodConfig):
    """The settings of sections 3 and 4.2; every loss and every part of Table 8 has its switch."""

    name: Literal["class_bank"] = "class_bank"
    mode: Literal["paper", "released"] = "paper"
    """`released` follows the authors' code wherever it differs in what the method is: all of `deviations`."""
    deviations: frozenset[Deviation] = frozenset()
    """Single differences of the released code, to be switched on alone."""

    pseudo_weight: float = Field(1.0, ge=0)
    entropy_weight: float = Field(0.01, ge=0)
    contrast_weight: float = Field(0.1, ge=0)
    """One symbol in the paper; here for the labeled and the unlabeled term each (docs/differences.md: 6)."""
    warmup_share: Probability | None = None
    """First share of the run without pseudo-labels and contrast; None: the paper's 2000 steps, at most 15 % of the run.
    The bank fills from its half on, as in the released code (docs/differences.md: 8)."""
    confidence_sharpening: float = Field(6.0, ge=0)
    num_views: int = Field(2, ge=1)
    class_balance: bool = True
    teacher_momentum: float | None = Field(None, ge=0, lt=1)
    """Where the momentum starts on its way to 1. The paper's 0.995 averages 200 of 150000 steps; by default the same
    share of a shorter run, but at least 50 steps (0.98)."""

    bank_slots: int = Field(256, ge=1)
    rescored_slots: int = Field(1024, ge=1)
    """Slots per class whose attention is computed anew in a step, in turn. In a larger bank older scores stand for the
    rest, so that a step does not run the selectors over all of it."""
    bank_clusters: int = Field(1, ge=1)
    """Clusters per class, the nearest of which a pixel is compared with; 1 is the paper, more its future work."""
    dim: int = Field(256, ge=8, multiple_of=8)
    """Length of the contrasted vectors."""
    quality_threshold: Probability = 0.95
    contrast_stride: int = Field(8, ge=1)
    """Features are compared on a grid of this many pixels; a finer map is sampled (docs/differences.md: 41)."""
    teacher_features: bool = True
    attention: bool = True
    quality_filter: bool = True

    weak: Augmentation = WEAK
    strong: Augmentation = STRONG

    def deviates(self, deviation: Deviation) -> bool:
        """Whether the released code is followed in this."""
        return self.mode == "released" or deviation in self.deviations


class PixelRows(NamedTuple):
    """The pixels of a batch on the contrast grid, flattened; `classes` is IGNORE where a pixel takes no part."""

    features: Rows
    classes: RowClasses
    images: RowClasses


class ClassBankMethod(Method):
    """Teacher and student, pseudo-labels, entropy, and positive-only contrast with a class-wise memory bank."""

    name = "class_bank"
    paper = "Alonso et al., ICCV 2021"
    Config = ClassBankConfig

    def __init__(self, config: ClassBankConfig, tools: Tools) -> None:
        super().__init__(tools)
        self.config = config
        net = tools.build_net()
        heads = ContrastHeads(tools.num_classes, net.feature_dim, config.dim)
        load_released_heads(heads, tools.net.weights)
        self.learner = nn.ModuleDict({"net": net, "heads": heads})
        batch_statistics = config.deviates("teacher_on_batch_statistics")
        self.average = Teacher(self.learner, follow_buffers=not batch_statistics, train_mode=batch_statistics)
        self.bank = ClassBank(tools.num_classes, config.bank_slots, config.dim)
        self.clusters = ClassClusters(tools.num_classes, config.bank_clusters, config.dim)
        self.frequency = ClassFrequency(tools.num_classes, tools.num_labeled, tools.num_unlabeled)

    @property
    def student(self) -> SegNet:
        return self.learner["net"]  # type: ignore[return-value]

    @property
    def teacher(self) -> SegNet:
        return self.average.network["net"]  # type: ignore[index, no-any-return]

    @property
    def heads(self) -> ContrastHeads:
        """The student's heads and selectors."""
        return self.learner["heads"]  # type: ignore[return-value]

    @property
    def teacher_heads(self) -> ContrastHeads:
        """The teacher's average of them."""
        return self.average.network["heads"]  # type: ignore[index, no-any-return]

    def attention(self) -> list[nn.Parameter]:
        return [*self.heads.prediction_selectors.parameters(), *self.heads.bank_selectors.parameters()]

    def step(self, batch: Batch, now: Now) -> Step:
        config = self.config
        assert batch.unlabeled is not None
        warmup_share = _warmup_share(now.steps) if config.warmup_share is None else config.warmup_share
        warm = now.progress >= warmup_share
        learns_pseudo = config.pseudo_weight > 0 and warm
        fills_bank = config.contrast_weight > 0 and now.progress >= warmup_share / 2

        self.teacher.check_trains(batch.target.images)  # which it sees later in the run, for the bank
        unlabeled_output, target_output = self._teacher_outputs(batch, fills_bank)
        pseudo_labels, confidence = self._pseudo_labels(unlabeled_output, batch.unlabeled)
        self.frequency.observe(batch.labeled.labels)
        if learns_pseudo:
            self.frequency.observe_pseudo(pseudo_labels)
        weights = self.frequency.weights() if config.class_balance else None

        labeled = augment_apart(config.weak, batch.domains, self.tools.num_classes)
        strong = self._strong_views(batch.unlabeled, pseudo_labels, confidence)
        labeled_output, strong_output = self.student(labeled.images), self.student(strong.images)

        sharpened = strong.confidence**config.confidence_sharpening
        losses = {"sup": cross_entropy(labeled_output.logits, labeled.labels, weights)}
        if config.entropy_weight > 0:
            losses["entropy"] = config.entropy_weight * entropy(strong_output.logits, strong.labels != IGNORE)
        if learns_pseudo:
            pseudo = cross_entropy(strong_output.logits, strong.labels, weights, sharpened)
            losses["pseudo"] = config.pseudo_weight * pseudo
        if fills_bank:
            with in_eval_mode(self.learner):  # without teacher features it is the student that is read
                self._fill_bank(batch.target, target_output)
        watch = {"confidence": confidence.mean(), "bank_filled": self.bank.filled / config.bank_slots}
        if learns_pseudo:
            watch["pseudo_excess"] = self.frequency.excess()
        if config.contrast_weight > 0 and warm:
            target, watch["bank_attended"] = self._target(now)
            for name, output, labels in (
                ("contrast_labeled", labeled_output, labeled.labels),
                ("contrast_unlabeled", strong_output, strong.labels),
            ):
                losses[name] = config.contrast_weight * self._contrast(output, labels, target)
        return Step(losses, watch)

    def after_update(self, now: Now) -> None:
        start = self.config.teacher_momentum
        if start is None:
            start = 1 - 1 / max(50.0, 200 * now.steps / 150_000)
        self.average.follow(self.learner, momentum_at(now.step, now.steps, start))

    @torch.no_grad()
    def _teacher_outputs(self, batch: Batch, fills_bank: bool) -> tuple[SegOutput, SegOutput | None]:
        """Of the unlabeled images and, where one pass can read both, of the labeled ones that the bank needs: it takes
        half the launches of two, and gives the same but for rounding, unless a batch is normalized by itself."""
        assert batch.unlabeled is not None
        unlabeled, target = batch.unlabeled.images, batch.target.images
        reads_both = fills_bank and self.config.teacher_features and not self.average.train_mode
        if not reads_both or unlabeled.shape[1:] != target.shape[1:]:
            return self.teacher(unlabeled), None
        logits, features = self.teacher(torch.cat([unlabeled, target]))
        first = len(unlabeled)
        return SegOutput(logits[:first], features[:first]), SegOutput(logits[first:], features[first:])

    def _pseudo_labels(self, output: SegOutput, unlabeled: Unlabeled) -> tuple[Labels, Confidence]:
        """Eq. 5: the teacher's classes of the images as they are, and how sure it is of them."""
        probabilities = output.logits.float().softmax(dim=1)
        confidence, pseudo_labels = probabilities.max(dim=1)
        return pseudo_labels.masked_fill(~unlabeled.valid, IGNORE), confidence * unlabeled.valid

    def _strong_views(self, unlabeled: Unlabeled, pseudo_labels: Labels, confidence: Confidence) -> View:
        """A views of every unlabeled image with its pseudo-labels, in one batch."""
        views = [
            augment(self.config.strong, unlabeled.images, pseudo_labels, self.tools.num_classes, confidence)
            for _ in range(self.config.num_views)
        ]
        return View(*(torch.cat(maps) for maps in zip(*views, strict=True)))

    def _rows(self, features: Features, labels: Labels) -> PixelRows:
        """The feature vectors and labels of the contrast grid."""
        features, classes = on_coarse_grid(features, labels, self.student.stride, self.config.contrast_stride)
        images = torch.arange(len(labels), device=labels.device)[:, None, None].expand_as(classes)
        rows = rearrange(features, "b d hs ws -> (b hs ws) d")
        return PixelRows(rows, classes.reshape(-1), images.reshape(-1))

    @torch.no_grad()
    def _fill_bank(self, labeled: Labeled, output: SegOutput | None = None) -> None:
        """Section 3.4: teacher features of labeled target images, filtered by quality, ranked by the selectors.

        From the images as they are, whose output may be at hand; the released code uses their weak augmentation
        (docs/differences.md: 10).
        """
        config, num_classes = self.config, self.tools.num_classes
        net, heads = (self.teacher, self.teacher_heads) if config.teacher_features else (self.student, self.heads)
        if output is None:
            output = net(labeled.images)
        labels = labeled.labels
        if config.quality_filter:
            confidence, prediction = output.logits.float().softmax(dim=1).max(dim=1)
            good = (prediction == labels) & (confidence > config.quality_threshold)
            labels = labels.masked_fill(~good, IGNORE)
        rows = self._rows(output.features, labels)
        with in_mode(heads, heads.training or config.deviates("heads_on_batch_statistics")):
            projections = heads.projector(rows.features, rows.classes, num_classes)
            if config.attention:
                ranks_by_prediction = config.deviates("prediction_selectors_rank")
                selectors = heads.prediction_selectors if ranks_by_prediction else heads.bank_selectors
                scores = selectors(projections, rows.classes)
            else:
                scores = torch.rand(len(rows.classes), device=projections.device)
        if config.deviates("lowest_ranked"):
            scores = -scores
        per_image = max(1, round(config.bank_slots / self.tools.num_labeled))
        self.bank.push(projections, rows.classes, scores, per_image, rows.images, len(labels))

    def _bank_weights(self, now: Now) -> Tensor:
        """Attention of the bank rows [k m]; gradients reach the selectors, not the rows."""
        bank, selectors, at_once = self.bank, self.heads.bank_selectors, self.config.rescored_slots
        if not self.config.attention or self.config.deviates("constant_bank_weights"):
            return torch.ones_like(bank.scores)
        if at_once >= self.config.bank_slots:
            return selectors.of_slots(bank.rows, bank.row_classes)
        turn = bank.turn(now.step, at_once)
        rows = bank.rows.gather(1, turn[:, :, None].expand(-1, -1, bank.rows.shape[2]))
        scores = selectors.of_slots(rows, bank.row_classes.gather(1, turn))
        bank.scores.scatter_(1, turn, scores.detach())
        return bank.scores.abs().scatter(1, turn, scores)  # `lowest_ranked` pushes them negated

    def _target(self, now: Now) -> tuple[BankMeans, Tensor]:
        """What the pixels of this step are compared with, and the share of the bank's rows [k] that attention uses."""
        config, bank, in_use = self.config, self.bank, self.bank.in_use
        weights = self._bank_weights(now)
        clusters = None if config.bank_clusters == 1 else self.clusters.assign(bank.rows, in_use)
        target = bank_means(bank.rows, in_use, weights, clusters, config.bank_clusters)
        return target, effective_share(weights.detach(), in_use)

    def _contrast(self, output: SegOutput, labels: Labels, target: BankMeans) -> Scalar:
        """Eq. 8 to 11 for the pixels of one batch."""
        heads, num_classes = self.heads, self.tools.num_classes
        rows = self._rows(output.features, labels)
        projections = heads.projector(rows.features, rows.classes, num_classes)
        predictions = heads.predictor(projections, rows.classes, num_classes)
        if self.config.attention:
            weights = heads.prediction_selectors(predictions, rows.classes)
        else:
            weights = torch.ones(len(predictions), device=predictions.device)
        return mean_contrast(predictions, rows.classes, target, weights)


def _warmup_share(steps: int) -> float:
    """2000 of 150000 steps would be 27 of 2000, when the teacher knows nothing yet (measured: docs/results.md)."""
    return min(2000 / steps, 0.15)
