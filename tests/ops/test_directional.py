"""The directional contrast, block by block, against its equation written out; and who follows whom."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_pixel_contrast import Watched
from torch import Tensor

from fewmask.ops.contrast import Pixels, blocks, directional_contrast, pulled
from fewmask.shapes import IGNORE
from grad_of import grad_of

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def pixels(vectors: list[list[float]] | Tensor, classes: list[int], confidence: list[float] | None = None) -> Pixels:
    sure = torch.ones(len(vectors)) if confidence is None else torch.tensor(confidence)
    return Pixels(torch.as_tensor(vectors), torch.tensor(classes), sure)


def random_pixels(classes: list[int] | Tensor, dtype: torch.dtype = torch.float64) -> Pixels:
    vectors = (3 * torch.randn(len(classes), 4, dtype=torch.float64)).to(dtype)
    return Pixels(vectors, torch.as_tensor(classes), torch.rand(len(classes)))


def literal(own: Pixels, partners: Pixels, active: Tensor, negatives: Pixels, temperature: float) -> Tensor:
    """The equation, pixel by pixel."""
    losses = []
    for vector, label, partner, counts in zip(own.vectors, own.classes, partners.vectors, active, strict=True):
        if counts:
            a = vector / vector.norm()
            pull = torch.exp(a @ (partner / partner.norm()).detach() / temperature)
            pushes = [
                torch.exp(a @ (k / k.norm()).detach() / temperature)
                for k, other in zip(negatives.vectors, negatives.classes, strict=True)
                if other not in (label, IGNORE)
            ]
            losses.append(-torch.log(pull / (pull + sum(pushes))))
    return sum(losses) / max(1, len(losses)) + 0 * own.vectors.sum()


def value_and_gradient(
    loss: Callable[..., Any], own: Pixels, *others: Pixels | float | Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient is that of three times the value: it must scale with what comes after."""
    vectors = own.vectors.clone().requires_grad_()
    value = loss(own._replace(vectors=vectors), *others)
    return value, torch.autograd.grad(3 * value, vectors)[0]


classes = st.sampled_from([0, 1, 2, 254, IGNORE])


@given(
    rows=st.lists(st.tuples(classes, st.booleans()), min_size=1, max_size=9),
    keys=st.one_of(st.lists(classes, min_size=1, max_size=9), st.just([1] * 4)),
    temperature=st.sampled_from([0.05, 0.1, 1.0]),
    size=st.sampled_from([(1, 1), (2, 6), (128, 2**22)]),
    seed=st.integers(0, 1000),
)
def test_value_and_gradient_equal_the_equation(
    rows: list[tuple[int, bool]], keys: list[int], temperature: float, size: tuple[int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    own, partners = (random_pixels([label for label, _ in rows]) for _ in range(2))
    others = partners, torch.tensor([counts for _, counts in rows]), random_pixels(keys), temperature
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MIN_ROWS", size[0])
        patch.setattr(blocks, "CPU_BLOCK", size[1])
        value, gradient = value_and_gradient(directional_contrast, own, *others)
    expected, expected_gradient = value_and_gradient(literal, own, *others)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("negatives", "expected"),
    [
        (pixels([NORTH], [1]), math.log(math.e + 1) - 1),
        (pixels([NORTH, NORTH, WEST], [1, 2, 1]), math.log(math.e + 2 + 1 / math.e) - 1),
        (pixels([NORTH, WEST], [0, 1]), math.log(math.e + 1 / math.e) - 1),  # the first is of the pixel's class
        (pixels([NORTH, WEST], [IGNORE, 1]), math.log(math.e + 1 / math.e) - 1),
        (pixels([NORTH, WEST], [0, 0]), 0.0),
    ],
)
def test_a_pixel_at_its_partner_has_a_known_loss(negatives: Pixels, expected: float) -> None:
    own, partners = pixels([[3.0, 0.0]], [0]), pixels([[0.5, 0.0]], [2])  # the partner's class does not matter
    value = directional_contrast(own, partners, torch.tensor([True]), negatives, 1.0)
    assert value.item() == pytest.approx(expected, abs=1e-6)


def test_the_mean_runs_over_the_active_pixels() -> None:
    own, negatives = pixels([EAST, EAST, NORTH], [0, 0, 0]), pixels([NORTH], [1])
    partners = pixels([EAST, WEST, EAST], [0, 0, 0])
    value = directional_contrast(own, partners, torch.tensor([True, True, False]), negatives, 1.0)
    losses = math.log(math.e + 1) - 1, math.log(1 / math.e + 1) + 1
    assert value.item() == pytest.approx(sum(losses) / 2, abs=1e-6)


def test_a_pixel_follows_a_partner_that_is_surer_than_itself_and_than_the_threshold() -> None:
    own = pixels(torch.rand(6, 2), [0, 0, 0, 0, 0, IGNORE], [0.6, 0.9, 0.8, 0.3, 0.6, 0.0])
    partners = pixels(torch.rand(6, 2), [0, 1, 0, 0, 0, 0], [0.8, 0.8, 0.8, 0.7, 0.8, 0.8])
    matched = torch.tensor([True, True, True, True, False, True])
    assert pulled(own, partners, matched, 0.75).tolist() == [True, False, False, False, False, False]
    assert pulled(partners, own, matched, 0.75).tolist() == [False, True, False, False, False, False]


def test_a_less_sure_pixel_is_pulled_to_the_surer_one_and_never_the_other_way() -> None:
    unsure = pixels(torch.tensor([[1.0, 0.2]], requires_grad=True), [0], [0.4])
    sure = pixels(torch.tensor([[0.2, 1.0]], requires_grad=True), [0], [0.9])
    negatives = pixels(torch.tensor([WEST], requires_grad=True), [1])
    for one, other in ((unsure, sure), (sure, unsure)):
        surer = pulled(one, other, torch.tensor([True]), 0.75)
        directional_contrast(one, other, surer, negatives, 0.1).backward()
    moved = unsure.vectors - 0.01 * grad_of(unsure.vectors)
    cosines = torch.cosine_similarity(torch.cat([unsure.vectors, moved]), sure.vectors)
    assert cosines[1] > cosines[0]
    assert not grad_of(sure.vectors).any()
    assert negatives.vectors.grad is None


def test_without_an_active_pixel_the_loss_is_zero_and_so_is_its_gradient() -> None:
    own = random_pixels([0, 1, IGNORE], torch.float32)
    value, gradient = value_and_gradient(
        directional_contrast, own, own, torch.zeros(3, dtype=torch.bool), random_pixels([0, 1], torch.float32), 0.1
    )
    assert value == 0
    assert not gradient.any()


def test_a_tiny_temperature_overflows_nowhere() -> None:
    own, partners, negatives = (random_pixels([0, 1, 1, 2], torch.float32) for _ in range(3))
    others = partners, torch.ones(4, dtype=torch.bool), negatives, 1e-3
    value, gradient = value_and_gradient(directional_contrast, own, *others)
    exact = [Pixels(part.vectors.double(), *part[1:]) for part in (own, partners, negatives)]
    expected, expected_gradient = value_and_gradient(directional_contrast, *exact[:2], others[1], exact[2], 1e-3)
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-3, atol=1e-2)


def test_bfloat16_is_rounded_once_and_then_computed_in_float32() -> None:
    own, partners, negatives = (random_pixels([0, 1, 1, 2], torch.bfloat16) for _ in range(3))
    active = torch.ones(4, dtype=torch.bool)
    value = directional_contrast(own, partners, active, negatives, 0.1)
    exact = [Pixels(part.vectors.float(), *part[1:]) for part in (own, partners, negatives)]
    assert value.dtype == torch.float32
    assert value == directional_contrast(exact[0], exact[1], active, exact[2], 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert value == directional_contrast(exact[0], exact[1], active, exact[2], 0.1)


def test_the_matrix_of_all_pairs_is_never_there_and_the_host_never_waits() -> None:
    own, partners, negatives = (random_pixels(torch.randint(0, 19, (4000,)), torch.float32) for _ in range(3))
    with Watched() as watched:
        value_and_gradient(directional_contrast, own, partners, torch.rand(4000) < 0.5, negatives, 0.1)
    assert 0 < watched.largest < 4000**2 / 3
    assert not watched.names & {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "bincount", "equal"}
    assert not watched.indexed_by_mask
