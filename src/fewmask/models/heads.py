"""Projection and prediction heads, and the class-wise attention: MLPs over pixel vectors, section 4.2.

Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank, ICCV 2021.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.ops.group_norm import normalized_by_group
from fewmask.ops.groups import grouped_linear, membership
from fewmask.shapes import Float, Int64, RowClasses, Rows, RowScores


class GroupedBatchNorm(nn.Module):
    """BatchNorm1d with statistics, gamma and beta per group; rows of no group do not count and come out as 0.

    The layer equals one nn.BatchNorm1d per group over the rows of that group, with two exceptions: a group of one row
    is normalized to beta instead of raising an error, and a group of fewer than two rows leaves its running statistics
    alone, because one row has no variance. The computation is in float32.
    """

    momentum, eps = 0.1, 1e-5
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_groups: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_groups, dim))
        self.bias = nn.Parameter(torch.zeros(num_groups, dim))
        self.register_buffer("running_mean", torch.zeros(num_groups, dim))
        self.register_buffer("running_var", torch.ones(num_groups, dim))

    def forward(self, rows: Rows, member: Float[Tensor, "n k"]) -> Rows:
        """Normalizes rows [n d] by their groups; `member` comes from `ops.groups.membership`."""
        if self.training:
            rows, count, mean, variance = normalized_by_group(rows, member, self.weight, self.bias, self.eps)
            self._follow(count, mean, variance)
            return rows
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        shift = self.bias - self.running_mean * scale
        with torch.autocast(rows.device.type, enabled=False):
            return (rows.float() * (member @ scale) + member @ shift).to(rows.dtype)

    @torch.no_grad()
    def _follow(self, count: Tensor, mean: Tensor, variance: Tensor) -> None:
        unbiased = variance * (count / (count - 1).clamp(min=1))[:, None]
        share = self.momentum * (count > 1)[:, None]
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(unbiased, share)


class PixelHead(nn.Module):
    """Linear - BatchNorm - ReLU - Linear over pixel vectors; the statistics leave ignored pixels out."""

    def __init__(self, in_dim: int, dim: int = 256) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_dim, dim)
        self.norm = GroupedBatchNorm(1, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, rows: Rows, classes: RowClasses, num_classes: int) -> Float[Tensor, "n out"]:
        """Maps rows [n in_dim] to [n dim]; the statistics leave out rows whose class is not in 0..num_classes-1."""
        counts = ((classes >= 0) & (classes < num_classes)).float()[:, None]
        hidden: Tensor = F.relu(self.norm(self.hidden(rows), counts))
        return self.out(hidden)  # type: ignore[no-any-return]


class ClassSelectors(nn.Module):
    """One attention module per class: Linear - BatchNorm - LeakyReLU(0.2) - Linear(1) - Sigmoid, computed together.

    The slope 0.2 is the released code's; the paper gives none.
    """

    def __init__(self, num_classes: int, dim: int = 256) -> None:
        super().__init__()
        bound = 1 / math.sqrt(dim)  # as nn.Linear
        self.hidden_weight = nn.Parameter(torch.empty(num_classes, dim, dim).uniform_(-bound, bound))
        self.hidden_bias = nn.Parameter(torch.empty(num_classes, dim).uniform_(-bound, bound))
        self.norm = GroupedBatchNorm(num_classes, dim)
        self.out_weight = nn.Parameter(torch.empty(num_classes, dim).uniform_(-bound, bound))
        self.out_bias = nn.Parameter(torch.empty(num_classes).uniform_(-bound, bound))

    def forward(self, rows: Rows, classes: RowClasses) -> RowScores:
        """Float32 scores in (0, 1) of rows [n d], each by the module of its class; 0 for a row of no class."""
        if torch.is_autocast_enabled(rows.device.type):
            rows = rows.to(torch.get_autocast_dtype(rows.device.type))
        return self._scores(grouped_linear(rows, classes, self.hidden_weight, self.hidden_bias), classes)

    def of_slots(self, slots: Float[Tensor, "k m d"], classes: Int64[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        """Scores of rows that are already ordered by class, by one batched product without sorting.

        All of classes[c] is c, or no class where a slot is not in use.
        """
        hidden = torch.baddbmm(self.hidden_bias[:, None], slots, self.hidden_weight.transpose(1, 2))
        return self._scores(hidden.flatten(0, 1), classes.flatten()).view(classes.shape)

    def _scores(self, hidden: Rows, classes: RowClasses) -> RowScores:
        member = membership(classes, len(self.out_bias))
        hidden = F.leaky_relu(self.norm(hidden, member), 0.2).float()
        scores = (hidden * (member @ self.out_weight)).sum(dim=1) + member @ self.out_bias
        return torch.sigmoid(scores) * member.sum(dim=1)
