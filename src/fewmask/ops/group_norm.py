"""Batch normalization of rows by the statistics of their own group (class), in few passes over the rows."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from fewmask.shapes import Rows


class GroupNormalized(NamedTuple):
    """Normalized rows, with the count, mean and biased variance of each group, which are 0 for an empty group."""

    rows: Rows
    counts: Float[Tensor, " k"]
    mean: Float[Tensor, "k d"]
    variance: Float[Tensor, "k d"]


def normalized_by_group(
    rows: Rows, member: Float[Tensor, "n k"], weight: Float[Tensor, "k d"], bias: Float[Tensor, "k d"], eps: float
) -> GroupNormalized:
    """(row - mean) / sqrt(variance + eps) * weight + bias, each row by its own group; rows of no group give 0.

    The computation is in float32, and rows keep their type. `member` comes from `ops.groups.membership`. The
    returned statistics carry no gradient; the gradient of the rows includes the way through the statistics.
    """
    return GroupNormalized(*_GroupNorm.apply(rows, member, weight, bias, eps))


class _GroupNorm(torch.autograd.Function):
    """BatchNorm with its gradient by hand: the only tensor of the rows' size that it keeps is the normalized rows.

    Products with the membership stand in for indexing, because the backward pass of an index is a slow scatter.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, member: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
        with torch.autocast(rows.device.type, enabled=False):
            dtype, rows = rows.dtype, rows.float()
            count = member.sum(dim=0)
            divisor = count.clamp(min=1)[:, None]
            mean = member.T @ rows / divisor
            normalized = rows - member @ mean
            variance = member.T @ normalized.square() / divisor
            inverse = torch.rsqrt(variance + eps)
            normalized *= member @ inverse
            ctx.save_for_backward(normalized, member, weight, inverse, divisor)
            ctx.mark_non_differentiable(count, mean, variance)
            ctx.set_materialize_grads(False)  # no zeros for the gradients of the statistics
            return (normalized * (member @ weight)).addmm_(member, bias).to(dtype), count, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        normalized, member, weight, inverse, divisor = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            dtype, gradient = gradient.dtype, gradient.float()
            of_weight = member.T @ (gradient * normalized)
            of_bias = member.T @ gradient
            scale = weight * inverse
            of_rows = (gradient * (member @ scale)).addmm_(member, scale * of_bias / divisor, alpha=-1)
            of_rows.addcmul_(normalized, member @ (scale * of_weight / divisor), value=-1)
            return of_rows.to(dtype), None, of_weight, of_bias, None
