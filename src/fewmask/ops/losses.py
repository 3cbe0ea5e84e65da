"""Losses of pixels (weighted cross-entropy of Eq. 3, entropy of Eq. 7) and of discriminators, and weights of classes.

Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank, ICCV 2021.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.exact import exact_dtype
from fewmask.shapes import IGNORE, Confidence, Labels, Logits, PerClass, Scalar, Valid

Divisor = Literal["pixels", "weights"]

_TINY = 1e-12


def cross_entropy(
    logits: Logits,
    labels: Labels,
    class_weights: PerClass | None = None,
    pixel_weights: Confidence | None = None,
    divisor: Divisor = "pixels",
) -> Scalar:
    """Weighted cross-entropy over the pixels that are not ignored, in float32; 0 if all pixels are ignored.

    Args:
        logits: [b k h w], any float type.
        labels: [b h w], 0..k-1 or IGNORE.
        class_weights: alpha_c of Eq. 3, [k], >= 0; all 1 when None.
        pixel_weights: beta_n of Eq. 3, [b h w], >= 0; all 1 when None.
        divisor: `pixels` divides by the number N of pixels that are not ignored, as in Eq. 3. `weights` divides by the
            sum of the pixels' class weights, as in PyTorch's weighted mean, which is the supervised loss of the
            released code (docs/differences.md: 19).
    """
    per_pixel = F.cross_entropy(
        logits.float(), labels, weight=class_weights, ignore_index=IGNORE, reduction="none"
    )  # 0 where ignored
    if pixel_weights is not None:
        per_pixel = per_pixel * pixel_weights
    counted = labels != IGNORE
    if divisor == "weights" and class_weights is not None:
        total = (class_weights[labels.masked_fill(~counted, 0)] * counted).sum().clamp(min=_TINY)
    else:
        total = counted.sum().clamp(min=1)
    return per_pixel.sum() / total


def entropy(logits: Logits, valid: Valid) -> Scalar:
    """Mean entropy in nats of the class distribution of the valid pixels, Eq. 7; in [0, ln k], 0 without pixels.

    The released code also divides by ln k (docs/differences.md: 18).
    """
    log_probabilities = F.log_softmax(logits.float(), dim=1)
    per_pixel = -(log_probabilities.exp() * log_probabilities).sum(dim=1)
    return torch.where(valid, per_pixel, 0.0).sum() / valid.sum().clamp(min=1)


def squared_distance(logits: Logits, probabilities: Logits) -> Float[Tensor, "b h w"]:
    """Squared distance of softmax(logits) to the probabilities at each pixel, summed over classes; in [0, 2]."""
    return (logits.float().softmax(dim=1) - probabilities).square().sum(dim=1)


def binary_cross_entropy(
    logits: Float[Tensor, "*size"], target: float, counted: Bool[Tensor, "*size"] | None = None
) -> Scalar:
    """Mean cross-entropy of logits with `target` in [0, 1], in float32; 0 if no logit counts.

    `counted` says which logits count; all count if it is None.
    """
    logits = logits.float()
    each = F.binary_cross_entropy_with_logits(logits, logits.new_full((), target).expand_as(logits), reduction="none")
    return each.mean() if counted is None else (each * counted).sum() / counted.sum().clamp(min=1)


def balanced_class_weights(counts: PerClass) -> PerClass:
    """alpha_c = sqrt(f_median / f_c) of section 4.2 from pixel counts (or shares) per class.

    The median is over the classes that occur; for an even number of classes it lies midway between the middle two. A
    class that does not occur gets the largest weight of those that do. All weights are 1 if nothing was counted. The
    released code takes the median over all classes (docs/differences.md: 20).
    """
    occurs = counts > 0
    median = _median(counts, occurs)
    weights = torch.sqrt(median / counts.clamp(min=_TINY))
    largest = weights.masked_fill(~occurs, 0.0).amax()
    weights = torch.where(occurs, weights, largest)
    return torch.where(occurs.any(), weights, torch.ones_like(weights)).float()


def _median(counts: PerClass, occurs: Bool[Tensor, " k"]) -> Scalar:
    """The median count of the classes that occur, midway between the middle two; infinite where no class occurs."""
    rising, number = counts.masked_fill(~occurs, torch.inf).sort().values, occurs.sum()
    middle = torch.stack([(number - 1).clamp(min=0) // 2, number // 2]).clamp(max=len(counts) - 1)
    low, high = rising[middle].unbind()
    return torch.lerp(low, high, 0.5)


def class_counts(labels: Tensor, num_classes: int) -> PerClass:
    """Number of pixels per class as float64 [k] (float32 on mps), without ignored pixels and without a host sync."""
    bins = labels.flatten().clamp(max=num_classes)  # IGNORE falls into one more bin
    counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=labels.device)
    return counts.scatter_add_(0, bins, torch.ones_like(bins))[:num_classes].to(exact_dtype(labels.device))
