"""The positive-only contrast against the class bank, Eq. 8 to 11, exactly and in linear time.

Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank, ICCV 2021.

With attention weights normalized to mean 1 (Eq. 8) and unit vectors p, z of one class,
    (1/nm) sum_p sum_z w_p w_z (1 - <p, z>) = 1 - <(1/n) sum_p w_p p, (1/m) sum_z w_z z>,
because the weights sum to n and to m. So a class costs one dot product of two weighted means: no n x m matrix, and
the bank is read once however many pixels are compared with it.
"""

from typing import Any, NamedTuple

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from fewmask.ops.groups import membership
from fewmask.shapes import RowClasses, Rows, RowScores, Scalar

_TINY = 1e-12


class BankMeans(NamedTuple):
    """The weighted means of a bank's unit vectors per class and cluster, and which of the means exist."""

    means: Float[Tensor, "k c d"]
    exists: Bool[Tensor, "k c"]


def bank_contrast(
    predictions: Rows,
    classes: RowClasses,
    bank: Float[Tensor, "k m d"],
    filled: Int64[Tensor, " k"],
    prediction_weights: RowScores,
    bank_weights: Float[Tensor, "k m"],
) -> Scalar:
    """Mean over the k classes of the weighted cosine distance between a class's predictions and its bank rows.

    Args:
        predictions: [n d] student vectors of any length; half precision is computed in float32.
        classes: [n] in 0..k-1; rows of any other value (IGNORE) take no part.
        bank: [k m d] teacher vectors of any length.
        filled: [k] how many rows of each class are in use, from the front; 0..m.
        prediction_weights: [n] in [0, 1], as the selector gives them; they are normalized here (Eq. 8).
        bank_weights: [k m] in [0, 1], as the selector gives them; rows not in use are left out.

    Returns:
        A scalar in [0, 2]. Classes without predictions or without bank rows of a weight above 0 add 0, and the mean
        still runs over all k classes, as Eq. 11 and the released code have it.
    """
    in_use = torch.arange(bank.shape[1], device=bank.device) < filled[:, None]
    return mean_contrast(predictions, classes, bank_means(bank, in_use, bank_weights), prediction_weights)


def bank_means(
    bank: Float[Tensor, "k m d"],
    in_use: Bool[Tensor, "k m"],
    weights: Float[Tensor, "k m"],
    clusters: Int64[Tensor, "k m"] | None = None,
    num_clusters: int = 1,
) -> BankMeans:
    """The bank's side: the weighted mean of each class, or of each cluster 0..num_clusters-1 of a class."""
    with torch.autocast(bank.device.type, enabled=False):
        bank = _at_least_float32(bank)
        member = in_use[:, :, None]
        if clusters is not None:
            member = member & (clusters[:, :, None] == torch.arange(num_clusters, device=bank.device))
        share = torch.where(member, weights.to(bank)[:, :, None], 0.0)
        scaled = share / _length(bank)[:, :, None]  # the lengths divide the weights, which saves a copy of the bank
        total = share.sum(dim=1)
        means = scaled.mT @ bank / _above_zero(total)[:, :, None]
        return BankMeans(means, total > 0)


def effective_share(weights: Float[Tensor, "k m"], in_use: Bool[Tensor, "k m"]) -> Float[Tensor, " k"]:
    """Share of a class's rows that its weights amount to: 1 where all are equal, 1/n where one of n has everything.

    The share is (sum w)^2 / (n sum w^2), Kish's effective sample size over n, and 0 for a class without rows.
    """
    used = torch.where(in_use, weights, 0.0)
    used = used / _above_zero(used.amax(dim=1, keepdim=True))  # otherwise small squares would be 0
    return used.sum(dim=1) ** 2 / _above_zero((used**2).sum(dim=1) * in_use.sum(dim=1))


def mean_contrast(predictions: Rows, classes: RowClasses, target: BankMeans, weights: RowScores) -> Scalar:
    """The side of the predictions: their contrast with the mean of their class, or with the nearest of several.

    Arguments and value are as in `bank_contrast`. This way, one `bank_means` can be compared with many batches.
    """
    with torch.autocast(predictions.device.type, enabled=False):
        rows = _at_least_float32(predictions)
        means, exists = target.means.to(rows), target.exists
        member = membership(classes, len(means)).to(rows)
        weights = weights.to(rows)
        total = weights @ member
        divisor = _above_zero(total)
        if means.shape[1] == 1:
            cosine = (_UnitSums.apply(rows, member, weights) * means[:, 0]).sum(dim=1) / divisor
        else:
            nearest = einsum(rows, means, "n d, k c d -> n k c").masked_fill(~exists, -torch.inf).amax(dim=2)
            nearest = torch.where(exists.any(dim=1), nearest, 0.0)
            cosine = einsum(member, nearest, weights / _length(rows), "n k, n k, n -> k") / divisor
        takes_part = (total > 0) & exists.any(dim=1)
        return torch.where(takes_part, 1 - cosine, 0.0).sum() / len(means)


@torch.no_grad()
def attention_sums(
    predictions: Rows, classes: RowClasses, target: BankMeans, weights: RowScores
) -> Float[Tensor, "4 k"]:
    """How the weights are shared between pixels near to the bank and pixels far from it.

    A pixel is near if its cosine with the nearest mean of its class is above the mean cosine of its class in the batch.

    Args:
        predictions, classes, target, weights: as in `mean_contrast`.

    Returns:
        For each class the summed weight and the number of near pixels, then those of far pixels, in float32.
    """
    with torch.autocast(predictions.device.type, enabled=False):
        num_classes = len(target.means)
        rows = _at_least_float32(predictions)
        member = membership(classes, num_classes).to(rows)
        directions = target.means.to(rows)
        cosines = einsum(rows, directions, "n d, k c d -> n k c").masked_fill(~target.exists, -torch.inf).amax(dim=2)
        own = torch.where((member > 0) & target.exists.any(dim=1), cosines, 0.0).sum(dim=1) / _length(rows)
        middle = own @ member / member.sum(dim=0).clamp(min=1)
        near = member * (own > member @ middle)[:, None]
        far = member - near
        weights = weights.to(rows)
        return torch.stack([weights @ near, near.sum(dim=0), weights @ far, far.sum(dim=0)]).float()


class _UnitSums(torch.autograd.Function):
    """The weighted sum [k d] of each class's unit rows; it makes one tensor of the rows' size, their gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, member: Tensor, weights: Tensor) -> Tensor:
        length = _length(rows)
        ctx.save_for_backward(rows, member, weights, length)
        return (member * (weights / length)[:, None]).T @ rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
        rows, member, weights, length = ctx.saved_tensors
        of_rows = member @ gradient
        along = einsum(of_rows, rows, "n d, n d -> n") / length
        of_rows.addcmul_(rows, (along / length)[:, None], value=-1)
        return of_rows.mul_((weights / length)[:, None]), None, along


def _length(vectors: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return lengths.clamp(min=_TINY)


def _above_zero(divisor: Tensor) -> Tensor:
    """The divisor, with the smallest normal number in place of 0: a selector may give all rows of a class weight 0."""
    return divisor.clamp(min=torch.finfo(divisor.dtype).tiny)


def _at_least_float32(vectors: Tensor) -> Tensor:
    return vectors if vectors.dtype == torch.float64 else vectors.float()
