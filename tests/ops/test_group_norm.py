"""Normalization per group against the statistics of each group, and what it keeps for its gradient."""

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from fewmask.ops.group_norm import normalized_by_group
from fewmask.ops.groups import membership
from fewmask.shapes import IGNORE

K, DIM = 4, 8


def random_rows(num_rows: int = 60) -> tuple[Tensor, Tensor]:
    """Rows of groups 0, 1 and 3 (2 is empty), some of no group."""
    return torch.randn(num_rows, DIM), torch.tensor([0, 1, 3, K, IGNORE])[torch.randint(0, 5, (num_rows,))]


def plain(num_groups: int = K, dim: int = DIM) -> tuple[Tensor, Tensor]:
    """Gamma and beta that change nothing."""
    return torch.ones(num_groups, dim), torch.zeros(num_groups, dim)


def test_the_statistics_are_those_of_each_group() -> None:
    rows, groups = random_rows()
    _, count, mean, variance = normalized_by_group(rows, membership(groups, K), *plain(), eps=1e-5)
    assert count.tolist() == [(groups == group).sum() for group in range(K)]
    for group in (0, 1, 3):
        own = rows[groups == group]
        torch.testing.assert_close(mean[group], own.mean(dim=0))
        torch.testing.assert_close(variance[group], own.var(dim=0, unbiased=False))
    assert (mean[2] == 0).all()
    assert (variance[2] == 0).all()


def test_statistics_far_from_zero_are_exact_also_under_autocast() -> None:
    rows, member = torch.tensor([[100.0], [100.5], [7.0]]), membership(torch.tensor([0, 0, 1]), 2)
    with torch.autocast("cpu", torch.bfloat16):
        _, _, mean, variance = normalized_by_group(rows, member, *plain(2, 1), eps=1e-5)
    assert mean.flatten().tolist() == [100.25, 7.0]
    assert variance.flatten().tolist() == [0.0625, 0.0]


def test_the_gradient_is_that_of_the_formula() -> None:
    rows, groups = random_rows()
    weight, bias = (torch.randn(K, DIM, requires_grad=True) for _ in range(2))
    rows.requires_grad_()
    direction = torch.randn(len(rows), DIM)
    found = normalized_by_group(rows, membership(groups, K), weight, bias, eps=0.1).rows
    expected = torch.zeros_like(found)
    for group in (0, 1, 3):
        own = rows[groups == group]
        scale = (own.var(dim=0, unbiased=False) + 0.1).rsqrt()
        expected[groups == group] = (own - own.mean(dim=0)) * scale * weight[group] + bias[group]
    torch.testing.assert_close(found, expected)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(found, (rows, weight, bias), direction),
        torch.autograd.grad(expected, (rows, weight, bias), direction),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def test_one_tensor_as_large_as_the_rows_waits_for_the_gradient() -> None:
    rows, groups = random_rows(500)
    saved: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        normalized_by_group(rows.requires_grad_(), membership(groups, K), *plain(), eps=1e-5)
    assert sum(numel >= rows.numel() for numel in saved) == 1
