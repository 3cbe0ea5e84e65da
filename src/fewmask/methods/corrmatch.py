"""CorrMatch: pseudo-labels spread along the similarities of an image's cells, and a threshold follows the training.

Sun, Yang, Zhang, Cheng and Hou, CorrMatch: Label Propagation via Correlation Matching for Semi-Supervised Semantic
Segmentation, CVPR 2024, https://arxiv.org/abs/2306.04300. The settings are those of the released code
(BBBBchan/CorrMatch, corrmatch.py).

The released code compares the strong view with the weak view in the term `kl` without mixing the latter; here both are
mixed alike. Its settings for Cityscapes lack the threshold's start, and its threshold counts 21 classes whatever the
data has; here both follow the settings and the data. Our choices: an image is mixed with its neighbor in the batch,
segments are made on a grid of `segment_stride` pixels and all at once, and channels are dropped in every map of the
encoder.
"""

from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fewmask.augment import Probability, View
from fewmask.augment.mix import Pasting
from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.parts import weak_to_strong
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.feature_dropout import with_dropped
from fewmask.methods.parts.weak_to_strong import StrongViewConfig, drawn_strong_view, pseudo_labeled, weak_view
from fewmask.methods.plan import Now
from fewmask.methods.supervised import Supervised
from fewmask.models.correlation import CorrelationHead, draw_segments, spread
from fewmask.models.grid import round_up
from fewmask.models.ranks import from_all_ranks
from fewmask.ops.losses import cross_entropy
from fewmask.ops.propagation import propagated_labels
from fewmask.shapes import IGNORE, Images, Labels, Logits, Scalar, Valid


class CorrMatchConfig(StrongViewConfig):
    """The threshold that follows the training, the segments, and the weights of the terms, whose sum is halved."""

    name: str = "corrmatch"
    confidence_threshold: Probability = 0.85
    """The threshold at the start, for pixels and for segments."""
    threshold_momentum: float = Field(0.999, ge=0, le=1)
    """Momentum with which the threshold follows the mean over the predicted classes of their largest confidence."""
    num_segments: int = Field(128, ge=1)
    """Number of cells of an image whose segments are looked at in a step."""
    segment_stride: int = Field(4, ge=1)
    """Stride in pixels of the grid of the segments; the original has segments of pixels."""
    dim: int = Field(256, ge=1)
    """Channels of the correlation head."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Probability that a channel of the encoder's maps is dropped in the weak view."""
    sup_weight: float = Field(0.5, ge=0)
    """Weight of the cross-entropy on labeled images, for the logits and for the spread logits each."""
    image_weight: float = Field(0.25, ge=0)
    """Weight of the strong views."""
    kl_weight: float = Field(0.25, ge=0)
    """Weight of the divergence of the strong views' probabilities from the weak ones."""
    feature_weight: float = Field(0.25, ge=0)
    """Weight of the weak view with dropped channels."""
    correlation_weight: float = Field(0.25, ge=0)
    """Weight of the spread logits of strong and weak views."""


class _Seen(NamedTuple):
    """What the network says of images: logits, logits that are spread, logits with dropped channels; correlations."""

    logits: Logits
    spread: Logits
    dropped: Logits | None
    correlation: Tensor
    grid: tuple[int, int]


class CorrMatch(Supervised):
    """UniMatch with one strong view, whose pseudo-labels spread to the cells of an image that resemble sure ones."""

    paper = "Sun et al., CVPR 2024"
    Config = CorrMatchConfig
    own: ClassVar = weak_to_strong.OWN
    toy: ClassVar = {
        "confidence_threshold": 0.3,
        "threshold_momentum": 0.9,
        "num_segments": 8,
        "dim": 8,
        "sup_weight": 2.0,
    }
    config: CorrMatchConfig
    threshold: Tensor

    def __init__(self, config: CorrMatchConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        width = self.net.network.encoder.out_channels[-1]
        self.head = CorrelationHead(width, tools.num_classes, config.dim)
        self.register_buffer("threshold", torch.tensor(config.confidence_threshold))

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(min_unlabeled_batch=2)

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def replicated_buffers(self) -> list[str]:
        return ["threshold"]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        config, labeled, weak = self.config, self.view(batch), weak_view(self.config, batch.unlabeled)
        num_labeled = len(labeled.images)
        seen = self._seen(torch.cat([labeled.images, weak.images]), drops=True)
        assert seen.dropped is not None
        weak = pseudo_labeled(weak, seen.logits[num_labeled:])
        self._follow(weak)

        colored, pasting = drawn_strong_view(config, weak)
        strong = pasting(colored)
        sure_weak, sure_strong = (view.valid & (view.confidence >= self.threshold) for view in (weak, strong))
        labels, counted = self._propagated(seen.correlation[num_labeled:], seen.grid, strong, sure_strong, pasting)
        strong_seen = self._seen(strong.images)

        of_weak = _mean_over_valid(seen.spread[num_labeled:], weak.labels, sure_weak)
        of_strong = _mean_over_valid(strong_seen.spread, labels, counted)
        target = pasting.maps(seen.logits[num_labeled:].detach())
        losses = {
            "sup": config.sup_weight / 2 * self.supervised_loss(seen.logits[:num_labeled], labeled),
            "correlation_sup": config.sup_weight / 2 * self.supervised_loss(seen.spread[:num_labeled], labeled),
            "pseudo": config.image_weight / 2 * _mean_over_valid(strong_seen.logits, labels, counted),
            "kl": config.kl_weight / 2 * _divergence(strong_seen.logits, target, sure_strong, strong.valid),
            "feature": config.feature_weight / 2 * _mean_over_valid(seen.dropped[num_labeled:], weak.labels, sure_weak),
            "correlation": config.correlation_weight / 4 * (of_strong + of_weak),
        }
        watch = {
            "sure": sure_weak.sum() / weak.valid.sum().clamp(min=1),
            "threshold": self.threshold.clone(),
            "propagated": (counted & ~sure_strong).sum() / strong.valid.sum().clamp(min=1),
            EXCESS: excess_of(weak.labels, self.frequency),
        }
        return Step(losses, watch)

    def _seen(self, images: Images, drops: bool = False) -> _Seen:
        height, width = images.shape[-2:]
        net, encoded = self.net, self.net.encode(images)
        grid = (encoded.maps[-1].shape[-2], encoded.maps[-1].shape[-1])
        cells = net.classify_cells(net.decode(with_dropped(encoded, self.config.dropout) if drops else encoded))
        logits, correlation = net.at_size(cells, (height, width)), self.head(encoded.maps[-1])
        spread_logits = net.at_size(spread(cells[: len(images)], correlation, grid), (height, width))
        dropped = logits[len(images) :] if drops else None
        return _Seen(logits[: len(images)], spread_logits, dropped, correlation, grid)

    @torch.no_grad()
    def _follow(self, weak: View) -> None:
        """Moves the threshold towards the mean over the predicted classes of their largest confidence."""
        num_classes = self.tools.num_classes
        bins = weak.labels.flatten().clamp(max=num_classes)  # IGNORE falls into one more bin
        best = torch.zeros(num_classes + 1, device=bins.device)
        best = best.scatter_reduce_(0, bins, weak.confidence.flatten().float(), "amax")[None, :num_classes]
        best = from_all_ranks(best).amax(dim=0)
        mean = best.sum() / (best > 0).sum().clamp(min=1)
        momentum = self.config.threshold_momentum ** (1 / self.tools.accumulate)
        self.threshold.copy_(torch.where(mean > 0, momentum * self.threshold + (1 - momentum) * mean, self.threshold))

    @torch.no_grad()
    def _propagated(
        self, correlation: Tensor, grid: tuple[int, int], strong: View, sure: Valid, pasting: Pasting
    ) -> tuple[Labels, Valid]:
        """The labels of the strong view after propagation, and which of them count; boxes take no part in it."""
        skip, (height, width) = self.config.segment_stride, strong.valid.shape[-2:]
        may_change = strong.valid & ~pasting.mask
        own, labels, is_sure = (maps[:, ::skip, ::skip] for maps in (may_change, strong.labels, sure))
        rows, columns = own.shape[1:]
        padded_rows, padded_columns = (-(-round_up(side, self.net.stride) // skip) for side in (height, width))
        padded = (padded_rows, padded_columns)  # which the cells cover, too
        segments = draw_segments(correlation, grid, self.config.num_segments, padded)
        segments = segments[..., :rows, :columns] & own[:, None]
        found = propagated_labels(
            segments.flatten(2), labels.flatten(1), is_sure.flatten(1), self.threshold, self.tools.num_classes
        )
        found = (
            found.unflatten(1, (rows, columns))
            .repeat_interleave(skip, 1)
            .repeat_interleave(skip, 2)[:, :height, :width]
        )
        changes = (found != IGNORE) & may_change
        return torch.where(changes, found, strong.labels), sure | changes


def _mean_over_valid(logits: Logits, labels: Labels, counted: Valid) -> Scalar:
    """Cross-entropy of the pixels that count, divided by the number of all pixels with a label."""
    return cross_entropy(logits, labels, pixel_weights=counted.float())


def _divergence(logits: Logits, target: Logits, counted: Valid, valid: Valid) -> Scalar:
    """KL(softmax(target) || softmax(logits)) of the pixels that count, divided by the number of valid pixels."""
    each = F.kl_div(
        logits.float().log_softmax(dim=1), target.float().log_softmax(dim=1), reduction="none", log_target=True
    )
    return torch.where(counted, each.sum(dim=1), 0.0).sum() / valid.sum().clamp(min=1)
