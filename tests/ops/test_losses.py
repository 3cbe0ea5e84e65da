"""Pixel losses against PyTorch, loops over pixels, and answers known by hand."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.losses import (
    balanced_class_weights,
    binary_cross_entropy,
    class_counts,
    cross_entropy,
    entropy,
)
from fewmask.shapes import IGNORE
from grad_of import grad_of

K = 4
Divisor = Literal["pixels", "weights"]


def random_pixels() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, labels of which a third is ignored, class weights, and pixel weights."""
    labels = torch.randint(0, K, (2, 5, 6)).masked_fill(torch.rand(2, 5, 6) < 0.3, IGNORE)
    return 3 * torch.randn(2, K, 5, 6), labels, 0.1 + torch.rand(K), torch.rand(2, 5, 6)


def literal_cross_entropy(
    logits: Tensor, labels: Tensor, class_weights: Tensor, pixel_weights: Tensor, divisor: Divisor
) -> float:
    """Eq. 3, pixel by pixel."""
    total, weight_sum, num_pixels = 0.0, 0.0, 0
    probabilities = logits.double().softmax(dim=1)
    for image, row, column in np.ndindex(*labels.shape):
        label = int(labels[image, row, column])
        if label == IGNORE:
            continue
        alpha, beta = float(class_weights[label]), float(pixel_weights[image, row, column])
        total -= alpha * beta * math.log(float(probabilities[image, label, row, column]))
        weight_sum += alpha
        num_pixels += 1
    return total / (num_pixels if divisor == "pixels" else weight_sum)


@pytest.mark.parametrize("divisor", ["pixels", "weights"])
def test_cross_entropy_equals_a_loop_over_pixels(divisor: Divisor) -> None:
    case = random_pixels()
    expected = literal_cross_entropy(*case, divisor)
    assert cross_entropy(*case, divisor=divisor).item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_equals_that_of_torch() -> None:
    logits, labels, class_weights, _ = random_pixels()
    torch.testing.assert_close(cross_entropy(logits, labels), F.cross_entropy(logits, labels, ignore_index=IGNORE))
    torch.testing.assert_close(
        cross_entropy(logits, labels, class_weights, divisor="weights"),
        F.cross_entropy(logits, labels, class_weights, ignore_index=IGNORE),
    )


def test_even_logits_cost_ln_k_a_pixel_whatever_is_ignored() -> None:
    labels = torch.tensor([[[0, 1, IGNORE]]])
    assert cross_entropy(torch.zeros(1, K, 1, 3), labels).item() == pytest.approx(math.log(K))


def test_the_two_divisors_weigh_a_class_differently() -> None:
    logits, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
    class_weights = torch.tensor([1.0, 3.0])
    assert cross_entropy(logits, labels, class_weights).item() == pytest.approx(2 * math.log(2))
    assert cross_entropy(logits, labels, class_weights, divisor="weights").item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("divisor", ["pixels", "weights"])
def test_one_pixel_of_a_light_class(divisor: Divisor) -> None:
    logits, labels, class_weights = torch.zeros(1, 2, 1, 1), torch.tensor([[[0]]]), torch.tensor([0.01, 1.0])
    expected = math.log(2) * (0.01 if divisor == "pixels" else 1)
    assert cross_entropy(logits, labels, class_weights, divisor=divisor).item() == pytest.approx(expected)


@pytest.mark.parametrize("divisor", ["pixels", "weights"])
def test_only_ignored_pixels_cost_nothing_and_give_no_gradient(divisor: Divisor) -> None:
    logits = torch.randn(1, K, 3, 3, requires_grad=True)
    labels = torch.full((1, 3, 3), IGNORE)
    loss = cross_entropy(logits, labels, torch.rand(K), torch.rand(1, 3, 3), divisor)
    loss.backward()
    assert loss == 0
    assert not grad_of(logits).any()


def test_half_precision_is_computed_in_float32() -> None:
    logits, *others = random_pixels()
    labels, class_weights, pixel_weights = others
    rounded = logits.bfloat16()
    found, exact = (cross_entropy(each, labels, class_weights, pixel_weights) for each in (rounded, rounded.float()))
    assert found == exact
    assert entropy(rounded, labels != IGNORE) == entropy(rounded.float(), labels != IGNORE)


def test_entropy_is_ln_k_for_even_and_zero_for_certain_pixels() -> None:
    logits = torch.zeros(1, K, 1, 2)
    logits[0, 2, 0, 1] = 1000.0
    assert entropy(logits[..., :1], torch.tensor([[[True]]])).item() == pytest.approx(math.log(K))
    assert entropy(logits[..., 1:], torch.tensor([[[True]]])).item() == 0
    assert entropy(logits, torch.tensor([[[True, True]]])).item() == pytest.approx(math.log(K) / 2)


def test_entropy_equals_a_loop_over_the_valid_pixels() -> None:
    logits, labels, *_ = random_pixels()
    valid = labels != IGNORE
    each = torch.distributions.Categorical(logits=logits.permute(0, 2, 3, 1)).entropy()
    assert entropy(logits, valid).item() == pytest.approx(each[valid].mean().item(), rel=1e-5)


def test_entropy_without_valid_pixels_is_zero_and_gives_no_gradient() -> None:
    logits = torch.randn(1, K, 2, 2, requires_grad=True)
    value = entropy(logits, torch.zeros(1, 2, 2, dtype=torch.bool))
    value.backward()
    assert value == 0
    assert not grad_of(logits).any()


@pytest.mark.parametrize(
    ("counts", "weights"),
    [
        ([1.0, 4.0, 16.0], [2.0, 1.0, 0.5]),
        ([2.0, 6.0], [2**0.5, (4 / 6) ** 0.5]),  # the median of two lies midway
        ([0.0, 4.0, 1.0, 16.0], [2.0, 1.0, 2.0, 0.5]),  # an absent class takes the largest weight
        ([0.0, 7.0], [1.0, 1.0]),
        ([0.0, 0.0], [1.0, 1.0]),
    ],
)
def test_class_weights_are_known(counts: list[float], weights: list[float]) -> None:
    balanced = balanced_class_weights(torch.tensor(counts, dtype=torch.float64))
    assert balanced.tolist() == pytest.approx(weights)
    assert balanced.dtype == torch.float32


@given(counts=st.lists(st.integers(0, 10**7), min_size=1, max_size=9))
def test_class_weights_are_the_root_of_numpys_median_over_the_frequency(counts: list[int]) -> None:
    balanced = balanced_class_weights(torch.tensor(counts, dtype=torch.float64))
    seen = [count for count in counts if count]
    for count, weight in zip(counts, balanced.tolist(), strict=True):
        expected = math.sqrt(np.median(seen) / (count or min(seen))) if seen else 1.0
        assert weight == pytest.approx(expected, rel=1e-6)


def test_only_the_shares_of_the_classes_matter() -> None:
    counts = torch.tensor([3.0, 1.0, 0.0, 9.0], dtype=torch.float64)
    torch.testing.assert_close(balanced_class_weights(counts), balanced_class_weights(counts / counts.sum()))


def test_counts_leave_ignored_pixels_out() -> None:
    labels = torch.tensor([[[0, 2, 2], [IGNORE, 2, 0]]])
    assert class_counts(labels, K).tolist() == [2, 0, 3, 0]
    assert class_counts(torch.full((1, 1, 1), IGNORE), K).tolist() == [0] * K


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_binary_cross_entropy_equals_a_loop_over_the_logits_that_count(target: float) -> None:
    logits, counted = 3 * torch.randn(2, 5), torch.rand(2, 5) < 0.6
    likely = [1 / (1 + math.exp(-score if target else score)) for score in logits[counted].tolist()]
    expected = -sum(map(math.log, likely)) / len(likely)
    assert binary_cross_entropy(logits, target, counted).item() == pytest.approx(expected, rel=1e-5)
    everything = binary_cross_entropy(logits, target, torch.ones_like(counted))
    torch.testing.assert_close(binary_cross_entropy(logits, target), everything)


def test_binary_cross_entropy_of_nothing_is_zero_and_of_half_precision_in_float32() -> None:
    logits = torch.full((3,), 100.0, dtype=torch.bfloat16, requires_grad=True)
    nothing = binary_cross_entropy(logits, 0.0, torch.zeros(3, dtype=torch.bool))
    assert nothing == 0
    nothing.backward()
    assert not grad_of(logits).any()
    assert binary_cross_entropy(logits, 0.0).dtype == torch.float32
    assert binary_cross_entropy(logits, 0.0) == 100
