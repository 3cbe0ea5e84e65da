"""Operators per group against one loop over the groups, gradients included."""

import contextlib
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fewmask.ops import groups as groups_module
from fewmask.ops.groups import grouped_linear, membership, rank_in_group
from fewmask.shapes import IGNORE
from grad_of import grad_of
from rounding import error_share, tolerance

K, DIM, OUT = 4, 8, 12


@pytest.fixture(params=[True, False], ids=["grouped", "with_all"])
def either_product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU or a GPU with the kernel, and as on other devices."""
    monkeypatch.setattr(groups_module, "_groups_cost_no_wait", lambda rows: request.param)


def random_rows(num_rows: int = 60) -> tuple[Tensor, Tensor]:
    """Rows of groups 0, 1 and 3 (2 is empty), some of no group."""
    return torch.randn(num_rows, DIM), torch.tensor([0, 1, 3, K, IGNORE])[torch.randint(0, 5, (num_rows,))]


def random_maps() -> tuple[Tensor, Tensor]:
    return torch.randn(K, OUT, DIM, requires_grad=True), torch.randn(K, OUT, requires_grad=True)


def literal_linear(rows: Tensor, groups: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Row by row."""
    return torch.stack(
        [
            weight[group] @ row + bias[group] if group < K else torch.zeros(OUT)
            for row, group in zip(rows, groups.tolist(), strict=True)
        ]
    )


@contextlib.contextmanager
def unwritten_memory_is_nan() -> Iterator[None]:
    """As new memory may be; without this it happens to be zeros most of the time."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def test_membership_has_a_single_one_or_none() -> None:
    assert membership(torch.tensor([1, 0, IGNORE, 2, -1]), 2).tolist() == [[0, 1], [1, 0], [0, 0], [0, 0], [0, 0]]


@pytest.mark.usefixtures("either_product")
def test_grouped_linear_equals_a_loop_over_rows_with_gradients() -> None:
    rows, groups = random_rows()
    rows.requires_grad_()
    weight, bias = random_maps()
    found, expected = grouped_linear(rows, groups, weight, bias), literal_linear(rows, groups, weight, bias)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(found)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(found, (rows, weight, bias), direction),
        torch.autograd.grad(expected, (rows, weight, bias), direction),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("either_product")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_no_group_give_zero_and_get_no_gradient(dtype: torch.dtype) -> None:
    rows, groups = random_rows()
    rows = rows.to(dtype).requires_grad_()
    weight, bias = random_maps()
    with unwritten_memory_is_nan():
        found = grouped_linear(rows, groups, weight[:, :8], bias[:, :8])
        found.sum().backward()
    no_group = groups >= K
    assert (found[no_group] == 0).all()
    assert (grad_of(rows)[no_group] == 0).all()
    assert (grad_of(rows)[~no_group] != 0).any(dim=1).all()
    assert all(gradient.isfinite().all() for gradient in (found, *map(grad_of, (rows, weight, bias))))


@pytest.mark.usefixtures("either_product")
@pytest.mark.parametrize("members", [[2], [IGNORE], [IGNORE] * 5, [K, 0], []])
def test_one_row_ignored_rows_and_no_rows(members: list[int]) -> None:
    rows, groups = torch.randn(len(members), DIM), torch.tensor(members, dtype=torch.int64)
    weight, bias = random_maps()
    expected = literal_linear(rows, groups, weight, bias) if len(groups) else torch.zeros(0, OUT)
    torch.testing.assert_close(grouped_linear(rows, groups, weight, bias), expected)


@pytest.mark.usefixtures("either_product")
def test_bfloat16_rows_give_bfloat16_near_the_exact_answer() -> None:
    rows, groups = random_rows()
    weight, bias = random_maps()
    weight, bias = weight[:, :8], bias[:, :8]
    found = grouped_linear(rows.bfloat16(), groups, weight, bias)
    assert found.dtype == torch.bfloat16
    assert error_share(found, grouped_linear(rows, groups, weight, bias)) < tolerance(DIM)


@given(
    rows=st.lists(st.tuples(st.sampled_from([0, 1, 2, K, IGNORE]), st.sampled_from([0.0, 0.5, -1.0, 2.0])), max_size=20)
)
def test_ranks_equal_sorting_each_group_on_its_own(rows: list[tuple[int, float]]) -> None:
    groups = torch.tensor([group for group, _ in rows], dtype=torch.int64)
    scores = torch.tensor([score for _, score in rows])
    found = rank_in_group(groups, scores, K).tolist()
    for group in {min(group, K) for group, _ in rows}:
        own = [index for index, (other, _) in enumerate(rows) if min(other, K) == group]
        by_falling_score = sorted(own, key=lambda index: -rows[index][1])  # stable: the earlier of equals first
        assert [found[index] for index in by_falling_score] == list(range(len(own)))
