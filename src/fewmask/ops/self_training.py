"""Pseudo-labels by class thresholds: the top share of every class is kept, so easy classes do not crowd out others.

Feng et al., Semi-Supervised Semantic Segmentation via Dynamic Self-Training and Class-Balanced Curriculum, 2020,
https://arxiv.org/abs/2004.08514v1; after Zou et al., CBST, ECCV 2018.
"""

import torch
from jaxtyping import Int64
from torch import Tensor

from fewmask.ops.exact import exact_dtype
from fewmask.shapes import IGNORE, Confidence, Labels, Logits, PerClass, RowClasses, RowScores, Valid

OCTAVES, BINS_PER_OCTAVE = 24, 256
"""Bins of 1 - confidence on a log scale to 2 ** -24, float32's last step; the bins are fine where confidences crowd."""

_TINY = 1e-12


def confidence_counts(confidence: RowScores, classes: RowClasses, num_classes: int) -> Int64[Tensor, "k bins"]:
    """A histogram of confidences in [0, 1] per class, lowest first; IGNORE is not counted.

    Histograms of any number of images can be added up in constant memory. The released code keeps every value and sorts
    the values.
    """
    num_bins = OCTAVES * BINS_PER_OCTAVE
    octave = -torch.log2((1 - confidence.float()).clamp(min=2.0**-OCTAVES))
    bins = (octave * BINS_PER_OCTAVE).long().clamp(0, num_bins - 1)
    rows = classes.clamp(max=num_classes)  # IGNORE falls into one more row
    counts = torch.zeros((num_classes + 1) * num_bins, dtype=torch.int64, device=confidence.device)
    counts.scatter_add_(0, rows * num_bins + bins, torch.ones_like(rows))
    return counts.view(num_classes + 1, num_bins)[:num_classes]


def top_share_thresholds(counts: Int64[Tensor, "k bins"], share: float) -> PerClass:
    """The confidence [k] above which the surest `share` of the pixels of each class lies.

    Args:
        counts: histograms from `confidence_counts`.
        share: R, above 0; from 1 on everything is kept.

    Returns:
        The lower edge of the bin that completes the share, so at most the pixels of one bin are kept in excess. It is 0
        where everything is kept, and 1 for a class without pixels. For such a class the released code fails; its later
        versions, whose rule does not divide, take 1e-5.
    """
    num_bins = counts.shape[1]
    if share >= 1:
        return torch.zeros(len(counts), device=counts.device)
    total = counts.sum(dim=1)
    from_top = counts.flip(1).cumsum(dim=1)
    short_of_share = (from_top < (total.to(exact_dtype(total.device)) * share)[:, None]).sum(dim=1)
    edges = num_bins - 1 - short_of_share
    thresholds = 1 - torch.exp2(-edges.float() / BINS_PER_OCTAVE)
    return torch.where(total > 0, thresholds, 1.0)


def normalized_pseudo_labels(logits: Logits, valid: Valid, thresholds: PerClass) -> Labels:
    """argmax_c softmax_c / k_c, IGNORE where that ratio is below 1: the rule of CBST and of the first version of CBC.

    Thresholds k_c of 0 count as one tiny number, which gives a plain argmax that keeps everything.
    """
    ratios = logits.float().softmax(dim=1) / thresholds.clamp(min=_TINY)[:, None, None]
    ratio, labels = ratios.max(dim=1)
    return labels.masked_fill((ratio < 1) | ~valid, IGNORE)


def confident_pseudo_labels(logits: Logits, valid: Valid, thresholds: PerClass) -> tuple[Labels, Confidence]:
    """argmax_c softmax_c, IGNORE where the maximum is below the class threshold; and the maximum, 0 if not valid."""
    confidence, labels = logits.float().softmax(dim=1).max(dim=1)
    kept = (confidence >= thresholds[labels]) & valid
    return labels.masked_fill(~kept, IGNORE), confidence * valid


def probability_of(labels: Labels, logits: Logits) -> Confidence:
    """The softmax [b h w] of the label of every pixel, without gradient; some value in [0, 1] where IGNORE."""
    known = labels.masked_fill(labels == IGNORE, 0)
    return logits.detach().float().softmax(dim=1).gather(1, known[:, None])[:, 0]


def mutual_weights(
    logits: Logits, labels: Labels, confidence: Confidence, agreed_gamma: float, disputed_gamma: float
) -> Confidence:
    """How much a pseudo-label counts for a network with these logits, in [0, 1], without gradient (Feng et al., DMT).

    q is the network's probability of the pseudo-label. The weight is q ** agreed_gamma where the pseudo-label is the
    network's own class. Elsewhere it is 0 if the network is surer of its own class than the label's `confidence`, and
    q ** disputed_gamma otherwise.
    """
    own_confidence, own_classes = logits.detach().float().softmax(dim=1).max(dim=1)
    probability = probability_of(labels, logits)
    disputed = torch.where(own_confidence > confidence, 0.0, probability**disputed_gamma)
    return torch.where(own_classes == labels, probability**agreed_gamma, disputed)
