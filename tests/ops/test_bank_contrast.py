"""The contrast in linear time against Eq. 8 to 11 written out, pair by pair."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fewmask.ops.contrast import attention_sums, bank_contrast, bank_means, effective_share, mean_contrast
from fewmask.shapes import IGNORE

SLOTS, DIM = 4, 5


def literal_contrast(
    predictions: Tensor, classes: Tensor, bank: Tensor, filled: Tensor, prediction_weights: Tensor, bank_weights: Tensor
) -> Tensor:
    """Eq. 8 to 11: the weighted distance of every prediction to every bank row of its class."""
    total = predictions.sum() * 0
    for label, in_use in enumerate(filled.tolist()):
        own = [row for row, value in enumerate(classes.tolist()) if value == label]
        if not own or not in_use:
            continue
        prediction_sum = sum(prediction_weights[row] for row in own)
        bank_sum = sum(bank_weights[label, slot] for slot in range(in_use))
        for row in own:
            for slot in range(in_use):
                p, z = predictions[row], bank[label, slot]
                weight_p = len(own) / prediction_sum * prediction_weights[row]
                weight_z = in_use / bank_sum * bank_weights[label, slot]
                cosine = (p @ z) / (p.norm() * z.norm())
                total = total + weight_p * weight_z * (1 - cosine) / len(own) / in_use
    return total / len(bank)


def random_case(classes: list[int], filled: list[int], dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Vectors of any length and weights in (0, 1) for rows of these classes."""
    num_rows, num_classes = len(classes), len(filled)
    return (
        (3 * torch.randn(num_rows, DIM, dtype=torch.float64)).to(dtype),
        torch.tensor(classes),
        (3 * torch.randn(num_classes, SLOTS, DIM, dtype=torch.float64)).to(dtype),
        torch.tensor(filled),
        torch.rand(num_rows, dtype=torch.float64).clamp(min=1e-3).to(dtype),
        torch.rand(num_classes, SLOTS, dtype=torch.float64).clamp(min=1e-3).to(dtype),
    )


def value_and_gradients(contrast: Callable[..., Any], case: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    predictions, classes, bank, filled, *weights = case
    predictions, *weights = (tensor.clone().requires_grad_() for tensor in (predictions, *weights))
    value = contrast(predictions, classes, bank, filled, *weights)
    return value, torch.autograd.grad(value, (predictions, *weights), materialize_grads=True)


@given(
    classes=st.lists(st.sampled_from([0, 1, 2, 3, IGNORE]), min_size=1, max_size=12),
    filled=st.lists(st.integers(0, SLOTS), min_size=4, max_size=4),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_equal_the_double_sum(classes: list[int], filled: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    case = random_case(classes, filled)
    value, gradients = value_and_gradients(bank_contrast, case)
    expected, expected_gradients = value_and_gradients(literal_contrast, case)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-10)


def nearest_contrast(
    predictions: Tensor,
    classes: Tensor,
    bank: Tensor,
    filled: Tensor,
    prediction_weights: Tensor,
    bank_weights: Tensor,
    clusters: Tensor,
    num_clusters: int,
) -> Tensor:
    """Every prediction against the nearest weighted mean of a cluster of its class, one by one."""
    total = predictions.sum() * 0
    for label, in_use in enumerate(filled.tolist()):
        means = []
        for cluster in range(num_clusters):
            slots = [slot for slot in range(in_use) if clusters[label, slot] == cluster]
            if slots:
                units = torch.stack([bank[label, slot] / bank[label, slot].norm() for slot in slots])
                means.append((bank_weights[label, slots, None] * units).sum(0) / bank_weights[label, slots].sum())
        own = [row for row, value in enumerate(classes.tolist()) if value == label]
        if not own or not means:
            continue
        weights = prediction_weights[own] / prediction_weights[own].sum()
        for weight, row in zip(weights, own, strict=True):
            unit = predictions[row] / predictions[row].norm()
            total = total + weight * (1 - torch.stack([unit @ mean for mean in means]).max())
    return total / len(bank)


@given(
    classes=st.lists(st.sampled_from([0, 1, 2, 3, IGNORE]), min_size=1, max_size=12),
    filled=st.lists(st.integers(0, SLOTS), min_size=4, max_size=4),
    num_clusters=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_clusters_equal_the_nearest_mean_one_by_one(
    classes: list[int], filled: list[int], num_clusters: int, seed: int
) -> None:
    torch.manual_seed(seed)
    case = random_case(classes, filled)
    clusters = torch.randint(0, num_clusters, (4, SLOTS))

    def linear(
        predictions: Tensor,
        classes: Tensor,
        bank: Tensor,
        filled: Tensor,
        prediction_weights: Tensor,
        bank_weights: Tensor,
    ) -> Tensor:
        in_use = torch.arange(SLOTS) < filled[:, None]
        target = bank_means(bank, in_use, bank_weights, clusters, num_clusters)
        return mean_contrast(predictions, classes, target, prediction_weights)

    value, gradients = value_and_gradients(linear, case)
    expected, expected_gradients = value_and_gradients(
        partial(nearest_contrast, clusters=clusters, num_clusters=num_clusters), case
    )
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("prediction", "distance"), [((2.0, 0.0), 0.5), ((1.0, 1.0), 1 - 0.5**0.5), ((-3.0, 0.0), 1.5), ((0.0, 0.1), 0.5)]
)
def test_distance_to_two_axes_is_known(prediction: tuple[float, float], distance: float) -> None:
    bank = torch.tensor([[[1.0, 0.0], [0.0, 5.0]]])
    value = bank_contrast(
        torch.tensor([prediction]), torch.tensor([0]), bank, torch.tensor([2]), torch.tensor([0.3]), torch.ones(1, 2)
    )
    assert value.item() == pytest.approx(distance, abs=1e-6)


def test_weights_move_the_mean_of_their_side() -> None:
    bank = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    predictions = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weights = torch.tensor([0.2, 0.6])  # a quarter and three quarters
    value = bank_contrast(
        predictions, torch.tensor([0, 0]), bank, torch.tensor([2]), weights, torch.tensor([[0.9, 0.1]])
    )
    assert value.item() == pytest.approx(1 - (0.25 * 0.9 + 0.75 * 0.1), abs=1e-6)


def test_the_mean_runs_over_all_classes_also_those_without_rows() -> None:
    predictions, _, bank, _, weights, bank_weights = random_case([0, 0, 0], [SLOTS] * 4)
    classes = torch.zeros(3, dtype=torch.int64)
    alone = bank_contrast(predictions, classes, bank[:1], torch.tensor([SLOTS]), weights, bank_weights[:1])
    among_four = bank_contrast(predictions, classes, bank, torch.tensor([SLOTS] * 4), weights, bank_weights)
    torch.testing.assert_close(among_four, alone / 4)


@pytest.mark.parametrize("filled", [[0, 0, 0], [SLOTS] * 3])
def test_only_ignored_rows_give_zero_and_no_gradient(filled: list[int]) -> None:
    value, gradients = value_and_gradients(bank_contrast, random_case([IGNORE] * 6, filled, torch.float32))
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients)


def test_an_empty_bank_gives_zero_and_no_gradient() -> None:
    value, gradients = value_and_gradients(bank_contrast, random_case([0, 1, 2], [0, 0, 0], torch.float32))
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients)


def test_bfloat16_is_rounded_once_and_then_computed_in_float32() -> None:
    rounded = random_case([0, 1, 1, 2, IGNORE], [3, 0, SLOTS], torch.bfloat16)
    exact = [tensor.float() if tensor.is_floating_point() else tensor for tensor in rounded]
    expected = bank_contrast(*exact)
    assert expected.dtype == torch.float32
    assert bank_contrast(*rounded) == expected
    with torch.autocast("cpu", torch.bfloat16):
        assert bank_contrast(*rounded) == expected


def test_the_effective_share_of_equal_weights_is_1_of_one_row_1_over_n_and_without_rows_0() -> None:
    weights = torch.tensor([[0.3, 0.3, 0.9], [1e-30, 1e-38, 0.9], [1.0, 3.0, 0.0], [0.5, 0.5, 0.5]])
    in_use = torch.tensor([[True, True, False], [True, True, False], [True, True, True], [False] * 3])
    expected = torch.tensor([1.0, 0.5, 16 / 30, 0.0])
    torch.testing.assert_close(effective_share(weights, in_use), expected)


@given(exponent=st.floats(-37, 0), seed=st.integers(0, 1000))
def test_weights_of_any_size_are_normalized(exponent: float, seed: int) -> None:
    torch.manual_seed(seed)
    predictions, classes, bank, filled, *weights = random_case([0, 0, 0, 1, 1], [3, 4], torch.float32)
    expected, _ = value_and_gradients(bank_contrast, (predictions, classes, bank, filled, *weights))
    small = [tensor * 10**exponent for tensor in weights]
    value, gradients = value_and_gradients(bank_contrast, (predictions, classes, bank, filled, *small))
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_class_whose_weights_are_all_zero_takes_no_part() -> None:
    case = random_case([0, 0, 1], [2, 2])
    predictions, classes, bank, filled, prediction_weights, bank_weights = case
    alone = bank_contrast(predictions[:2], classes[:2], bank, filled, prediction_weights[:2], bank_weights)
    no_pixel, no_row = prediction_weights.clone(), bank_weights.clone()
    no_pixel[2], no_row[1] = 0.0, 0.0
    for weights in ((no_pixel, bank_weights), (prediction_weights, no_row)):
        value, gradients = value_and_gradients(bank_contrast, (predictions, classes, bank, filled, *weights))
        torch.testing.assert_close(value, alone)
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_attention_is_summed_over_pixels_nearer_than_the_mean_of_their_class_and_over_the_others() -> None:
    classes, weights = torch.tensor([0, 0, 0, 1, 1, 2, IGNORE]), torch.rand(7)
    rows, bank = torch.randn(7, 8), torch.randn(3, 5, 8)
    in_use = torch.arange(5) < torch.tensor([5, 2, 0])[:, None]
    target = bank_means(bank, in_use, torch.ones(3, 5))
    expected = torch.zeros(4, 3)
    for label in range(3):
        own = [n for n, each in enumerate(classes.tolist()) if each == label]
        cosines = [float(rows[n] @ target.means[label, 0] / rows[n].norm()) for n in own]
        for n, cosine in zip(own, cosines, strict=True):
            place = 0 if cosine > sum(cosines) / len(cosines) else 2
            expected[place, label] += weights[n]
            expected[place + 1, label] += 1
    assert expected[1, 0] > 0
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            torch.testing.assert_close(attention_sums(rows, classes, target, weights), expected)
