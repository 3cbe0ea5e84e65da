"""Sums over the rows of a matrix of dot products, which is computed in blocks and never held as a whole.

The forward pass takes the gradient of each block, and the backward pass only scales it. So a block takes three matrix
products, as many as with the whole matrix, and the memory is linear in the number of rows and columns.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from fewmask.shapes import Scalar

CPU_BLOCK, GPU_BLOCK = 2**20, 2**24
"""Entries of a block, 4 and 64 MiB in float32. The small block fits a CPU's cache; the large one saves a GPU calls."""

MIN_ROWS = 128
"""The fewest rows of a block, whatever their number of entries: a product of fewer rows is slow."""

Place = tuple[slice, slice]
"""The groups and the rows of a block."""

Term = Callable[[Float[Tensor, "g r m"], Place], tuple[Float[Tensor, "g r"], Float[Tensor, "g r m"]]]
"""Maps a block of dot products, which it may change in place, to a finite value per row and the values' gradients."""

NEVER = -1e30
"""The logit of a pair that takes no part. Its exponential is 0, and its differences are not NaN, unlike -inf's."""


def blockwise_sum(
    anchors: Float[Tensor, "g n d"], keys: Float[Tensor, "g m d"], weights: Float[Tensor, "g n"], term: Term
) -> Scalar:
    """The weighted sum of `term` over the n rows of anchors x keys^T, in all g groups.

    Gradients go to anchors and keys alone, not to the weights or to other tensors that `term` holds.
    """
    total: Tensor = _BlockwiseSum.apply(anchors, keys, weights, term)
    return total


def blockwise_rows(anchors: Float[Tensor, "g n d"], keys: Float[Tensor, "g m d"], term: Term) -> Float[Tensor, "g n"]:
    """`term` of every row of anchors x keys^T, in all g groups; gradients go to the anchors alone."""
    values: Tensor = _BlockwiseRows.apply(anchors, keys, term)
    return values


def log_sum_exp(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The log-sum-exp over the last dimension, and its gradient, the softmax.

    The softmax of the largest logit is exp(largest - log-sum-exp), so the log-sum-exp follows from the softmax.
    """
    softmax = logits.softmax(dim=-1)
    return logits.amax(dim=-1) - softmax.amax(dim=-1).log(), softmax


class _BlockwiseSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchors: Tensor, keys: Tensor, weights: Tensor, term: Term) -> Tensor:
        values, slopes, key_gradient = torch.empty_like(weights), torch.empty_like(anchors), torch.zeros_like(keys)
        for groups, rows in _places(anchors, keys):
            place = groups, rows
            values[place], block = term(torch.bmm(anchors[place], keys[groups].mT), place)
            if any(ctx.needs_input_grad):
                torch.bmm(block, keys[groups], out=slopes[place])
                key_gradient[groups].baddbmm_(block.mT, weights[place][:, :, None] * anchors[place])
        ctx.save_for_backward(slopes, weights, key_gradient)
        return (weights * values).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        slopes, weights, key_gradient = ctx.saved_tensors
        return (gradient * weights)[:, :, None] * slopes, gradient * key_gradient, None, None


class _BlockwiseRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchors: Tensor, keys: Tensor, term: Term) -> Tensor:
        values, slopes = anchors.new_empty(anchors.shape[:2]), torch.empty_like(anchors)
        for groups, rows in _places(anchors, keys):
            place = groups, rows
            values[place], block = term(torch.bmm(anchors[place], keys[groups].mT), place)
            if ctx.needs_input_grad[0]:
                torch.bmm(block, keys[groups], out=slopes[place])
        ctx.save_for_backward(slopes)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return gradient[:, :, None] * slopes, None, None


def _places(anchors: Tensor, keys: Tensor) -> Iterator[Place]:
    num_groups, num_rows, num_columns = len(anchors), anchors.shape[1], keys.shape[1]
    block = CPU_BLOCK if anchors.device.type == "cpu" else GPU_BLOCK
    row_step = min(num_rows, max(MIN_ROWS, block // num_columns))
    group_step = max(1, block // (row_step * num_columns))
    for group in range(0, num_groups, group_step):
        for row in range(0, num_rows, row_step):
            yield slice(group, group + group_step), slice(row, row + row_step)
