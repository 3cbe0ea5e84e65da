"""The contrast of pixels with the class-wise memory bank: what fills it, and what pixels are compared with.

Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank, ICCV 2021, sections 3.3, 3.4 and 4.2.
"""

from typing import Literal, NamedTuple, get_args

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from fewmask.augment import Probability
from fewmask.methods.base import MethodConfig, Tools
from fewmask.methods.parts.learner import Learner
from fewmask.methods.plan import Now
from fewmask.models.bank import ClassBank
from fewmask.models.clusters import ClassClusters
from fewmask.models.contrast_heads import ContrastHeads
from fewmask.models.grid import on_coarse_grid
from fewmask.models.modes import in_mode
from fewmask.models.segnet import SegNet, SegOutput
from fewmask.ops.contrast import (
    BankMeans,
    attention_sums,
    bank_means,
    contrast_with_all_classes,
    effective_share,
    mean_contrast,
)
from fewmask.ops.margin import margin
from fewmask.shapes import IGNORE, Features, Labels, RowClasses, Rows, Scalar

Deviation = Literal[
    "lowest_ranked",  # 1   the bank takes the lowest-scored features, not the highest
    "prediction_selectors_rank",  # 2   the selectors of the predictions rank the projections
    "constant_bank_weights",  # 3   the attention of bank rows is identically 1
    "detached_selectors",  # 4   the attention of pixels sends no gradient to the heads and the network
    "teacher_on_batch_statistics",  # 15  parameters alone are averaged, and the teacher stays in train mode
    "heads_on_batch_statistics",  # 15  the same, for the heads that fill the bank alone
    "one_more_class_pasted",  # 23  ClassMix pastes floor(n / 2) + 1 of n classes
    "background_stays",  # 43  ClassMix pastes the background only from images that have no other class
    "additive_jitter",  # 44  the jitter of kornia 0.4.1
    "centered_padding",  # 45  images that are scaled down lie in the center of the view
    "labels_on_padding",  # 46  pseudo-labels on the padding of unlabeled images count
    "classmix_per_batch",  # 47  whether ClassMix is applied is drawn once for a batch
    "first_ranked_stay",  # 49  the bank drops the last-ranked rows of the oldest step first
]
"""Differences between the released code and the paper in what the method is, by row of docs/differences.md."""


class BankContrastConfig(MethodConfig):
    """What enters the bank, and how pixels are compared with it."""

    mode: Literal["paper", "released"] = "paper"
    """`released` follows the authors' code wherever it differs in what the method is, that is in all `deviations`."""
    deviations: frozenset[Deviation] = frozenset()
    """Single differences of the released code that are switched on."""

    bank_slots: int = Field(256, ge=1)
    """Number of features of every class that the bank keeps."""
    rescored_slots: int = Field(1024, ge=1)
    """Number of slots per class whose attention is computed anew in a step, in turn. In a larger bank the other slots
    keep older scores, so that a step does not run the selectors over the whole bank."""
    bank_clusters: int = Field(1, ge=1)
    """Clusters per class; a pixel is compared with the nearest. The paper has 1, and names more as future work."""
    dim: int = Field(256, ge=8, multiple_of=8)
    """Length of the contrasted vectors."""
    quality_threshold: Probability = 0.95
    """A feature enters the bank if its pixel is predicted right with more confidence than this."""
    contrast_stride: int = Field(8, ge=1)
    """Stride in pixels of the grid on which features are compared; a finer map is sampled (docs/differences.md: 41)."""
    attention: bool = True
    """Whether selectors rank what enters the bank, and weight both sides of the contrast (section 3.4)."""
    pixel_attention: bool = True
    """Whether selectors weight the pixels; otherwise, with `attention`, they rank and weight the bank's rows alone."""
    quality_filter: bool = True
    """Whether `quality_threshold` applies; otherwise every labeled feature may enter the bank."""
    negatives: bool = False
    """Whether pixels are also pushed from the bank's rows of other classes, by the loss of `pixcon` in place of Eq. 8
    to 11. It has no attention: all rows and pixels count equally, and chance draws the rows that enter the bank."""
    temperature: float = Field(0.1, gt=0)
    """With `negatives`, similarities are divided by the temperature."""
    hard_margin: Probability | None = None
    """Only hard pixels are compared with the bank: those where the probability of the label or pseudo-label is less
    than this above that of every other class. All wrong predictions are hard. None: all pixels are compared."""

    attention_rate: float | None = Field(None, ge=0)
    """The selectors' share of the learning rate; None: 0.01 for adamw, 1 for sgd (docs/design.md)."""
    heads_rate: float = Field(1.0, ge=0)
    """The share of the learning rate of the projection and prediction heads."""
    watch_gradient: bool = False
    """Whether every step computes the curve `contrast_gradient`: the norm of the contrast's gradient on the features of
    the labeled images, divided by that of the supervised loss. It repeats a part of the backward pass."""

    @property
    def followed(self) -> frozenset[Deviation]:
        """The deviations in which the released code is followed."""
        return frozenset(get_args(Deviation)) if self.mode == "released" else self.deviations

    @property
    def attends(self) -> bool:
        """Whether the contrast has selectors."""
        return self.attention and not self.negatives

    def deviates(self, deviation: Deviation) -> bool:
        """Whether the released code is followed in this deviation."""
        return deviation in self.followed


class PixelRows(NamedTuple):
    """The pixels of a batch on the contrast grid, flattened; `classes` is IGNORE where a pixel takes no part."""

    features: Rows
    classes: RowClasses
    images: RowClasses


class Contrasted(NamedTuple):
    """The contrast of one batch of pixels, and what its attention did.

    Attributes:
        loss: the contrast of Eq. 8 to 11, or that with negatives.
        attention: [4 k] from `attention_sums`; sums of several batches add up.
    """

    loss: Scalar
    attention: Tensor


class BankContrast(nn.Module):
    """The bank and its clusters. Every call gets the network whose features enter the bank or are compared with it."""

    def __init__(self, config: BankContrastConfig, tools: Tools) -> None:
        super().__init__()
        self.config, self.tools = config, tools
        self.bank = ClassBank(tools.num_classes, config.bank_slots, config.dim)
        self.clusters = ClassClusters(tools.num_classes, config.bank_clusters, config.dim)

    def rows(self, net: SegNet, features: Features, labels: Labels) -> PixelRows:
        """The feature vectors of `net` and their labels, on the contrast grid."""
        features, classes = on_coarse_grid(features, labels, net.stride, self.config.contrast_stride)
        images = torch.arange(len(labels), device=labels.device)[:, None, None].expand_as(classes)
        rows = rearrange(features, "b d hs ws -> (b hs ws) d")
        return PixelRows(rows, classes.reshape(-1), images.reshape(-1))

    @torch.no_grad()
    def fill(self, learner: Learner[ContrastHeads], output: SegOutput, labels: Labels) -> None:
        """Fills the bank with features of labeled images, filtered by quality and ranked by selectors (section 3.4)."""
        config, heads, num_classes = self.config, learner.heads, self.tools.num_classes
        if config.quality_filter:
            confidence, prediction = output.logits.float().softmax(dim=1).max(dim=1)
            good = (prediction == labels) & (confidence > config.quality_threshold)
            labels = labels.masked_fill(~good, IGNORE)
        rows = self.rows(learner.net, output.features, labels)
        with in_mode(heads, heads.training or config.deviates("heads_on_batch_statistics")):
            projections = heads.projector(rows.features, rows.classes, num_classes)
            if config.attends:
                ranks_by_prediction = config.deviates("prediction_selectors_rank")
                selectors = heads.prediction_selectors if ranks_by_prediction else heads.bank_selectors
                scores = selectors(projections, rows.classes)
            else:
                scores = torch.rand(len(rows.classes), device=projections.device)
        if config.deviates("lowest_ranked"):
            scores = -scores
        per_image = max(1, round(config.bank_slots / self.tools.num_labeled))
        stay = config.deviates("first_ranked_stay")
        self.bank.push(projections, rows.classes, scores, per_image, rows.images, len(labels), stay)

    def target(self, learner: Learner[ContrastHeads], now: Now) -> tuple[BankMeans, Tensor]:
        """What the pixels of this step are compared with, and the share of the bank's rows [k] that attention uses."""
        config, bank, in_use = self.config, self.bank, self.bank.in_use
        weights = self.bank_weights(learner, now)
        clusters = None if config.bank_clusters == 1 else self.clusters.assign(bank.rows, in_use)
        target = bank_means(bank.rows, in_use, weights, clusters, config.bank_clusters)
        return target, effective_share(weights.detach(), in_use)

    def bank_weights(self, learner: Learner[ContrastHeads], now: Now) -> Tensor:
        """Attention of the bank's rows [k m]; gradients reach the selectors, not the rows."""
        bank, selectors, at_once = self.bank, learner.heads.bank_selectors, self.config.rescored_slots
        if not self.config.attends or self.config.deviates("constant_bank_weights"):
            return torch.ones_like(bank.scores)
        if at_once >= self.config.bank_slots:
            return selectors.of_slots(bank.rows, bank.row_classes)
        turn = bank.turn(now.steps_done, at_once)
        rows = bank.rows.gather(1, turn[:, :, None].expand(-1, -1, bank.rows.shape[2]))
        scores = selectors.of_slots(rows, bank.row_classes.gather(1, turn))
        bank.scores.scatter_(1, turn, scores.detach())
        return bank.scores.abs().scatter(1, turn, scores)  # `lowest_ranked` pushes negated scores

    def forward(
        self, learner: Learner[ContrastHeads], output: SegOutput, labels: Labels, target: BankMeans
    ) -> Contrasted:
        """The contrast of the pixels of one batch with the bank.

        The heads normalize over all pixels with a label, whichever of them are compared.
        """
        config, bank, heads, num_classes = self.config, self.bank, learner.heads, self.tools.num_classes
        rows = self.rows(learner.net, output.features, labels)
        projections = heads.projector(rows.features, rows.classes, num_classes)
        predictions = heads.predictor(projections, rows.classes, num_classes)
        if config.attends and config.pixel_attention:
            detached = config.deviates("detached_selectors")
            weights = heads.prediction_selectors(predictions.detach() if detached else predictions, rows.classes)
        else:
            weights = torch.ones(len(predictions), device=predictions.device)
        classes = rows.classes
        if config.hard_margin is not None:
            easy = margin(output.logits, labels) >= config.hard_margin
            classes = self.rows(learner.net, output.features, labels.masked_fill(easy, IGNORE)).classes
        if config.negatives:
            loss = contrast_with_all_classes(predictions, classes, bank.rows, bank.in_use, config.temperature)
        else:
            loss = mean_contrast(predictions, classes, target, weights)
        return Contrasted(loss, attention_sums(predictions, classes, target, weights))

    @torch.no_grad()
    def curves(self, attention: Tensor) -> dict[str, Tensor]:
        """What shows whether the contrast can act, per class and in [0, 1]; 0 where a class has no pixel or row.

        `attention_near` and `attention_far` are the mean attention of the pixels that are nearer to the bank than the
        mean pixel of their class, and of the others. If far pixels get next to none, the contrast moves nothing.
        `bank_concentration` is the length of the mean of a class's unit rows: at 1 all rows are the same.
        """
        near, num_near, far, num_far = attention
        at_once = self.config.rescored_slots
        rows, in_use = self.bank.rows[:, :at_once], self.bank.in_use[:, :at_once]
        mean = bank_means(rows, in_use, torch.ones_like(rows[:, :, 0])).means[:, 0]
        return {
            "attention_near": near / num_near.clamp(min=1),
            "attention_far": far / num_far.clamp(min=1),
            "bank_concentration": torch.linalg.vector_norm(mean, dim=1),
        }
