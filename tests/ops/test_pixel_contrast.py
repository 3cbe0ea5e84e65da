"""The contrasts of pixels, block by block, against their equations written out, pair by pair."""

import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fewmask.ops.contrast import batch_contrast, blocks, cross_image_contrast, within_image_contrast
from fewmask.shapes import IGNORE

DIM, HEIGHT, WIDTH = 3, 2, 3


def mean(values: list[float | Tensor]) -> float | Tensor:
    return sum(values) / len(values) if values else 0.0


def paper_loss(
    anchors: list[tuple[Tensor, int]], own: list[tuple[Tensor, int]], elsewhere: list[Any], temperature: float
) -> float | Tensor:
    """Each pixel a (unit vector, class); all of `own` is in the denominator, and the positives of `elsewhere`."""
    losses = []
    for f, label in anchors:
        positives = [k for k, other in own + elsewhere if other == label]
        joined = [k for k, _ in own] + [k for k, other in elsewhere if other == label]
        denominator = sum(torch.exp(f @ k / temperature) for k in joined)
        if positives:
            losses.append(mean([-torch.log(torch.exp(f @ q / temperature) / denominator) for q in positives]))
    return mean(losses)


def released_loss(one: list[tuple[Tensor, int]], other: list[Any], temperature: float) -> float | Tensor:
    """The pixels of both are anchors and positives, negatives are from the anchor's own side."""
    losses = []
    for own in (one, other):
        for f, label in own:
            negative = sum(torch.exp(f @ k / temperature) for k, other_label in own if other_label != label)
            positive = [torch.exp(f @ q / temperature) for q, other_label in one + other if other_label == label]
            losses.append(mean([-torch.log(e / (e + negative)) for e in positive]))
    return mean(losses)


def literal(
    loss: str,
    features: Tensor,
    distorted: Tensor,
    labels: Tensor,
    distorted_labels: Tensor,
    partners: Tensor,
    *,
    temperature: float,
) -> Tensor:
    """Any of the five losses, by its name."""
    images, copies = listed(features, labels), listed(distorted, distorted_labels)
    pairs = list(zip(images, copies, partners.tolist(), strict=True))
    if loss == "within":
        value = mean([paper_loss(image, copy, [], temperature) for image, copy, _ in pairs])
    elif loss == "cross":
        value = mean([paper_loss(image, copy, copies[partner], temperature) for image, copy, partner in pairs])
    elif loss == "batch":
        value = paper_loss(list(chain(*images)), list(chain(*copies)), [], temperature)
    elif loss == "released within":
        value = mean([released_loss(image, [], temperature) for image in images]) + mean(
            [released_loss(copy, [], temperature) for copy in copies]
        )
    else:
        value = mean([released_loss(image, copies[partner], temperature) for image, _, partner in pairs])
    return value + 0 * (features.sum() + distorted.sum())


def listed(features: Tensor, labels: Tensor) -> list[list[Any] | list[tuple[Tensor, int]]]:
    """Per image the (unit vector, class) of its pixels, without those that are ignored."""
    units = features / features.norm(dim=1, keepdim=True)
    return [
        [pixel for pixel in zip(unit.flatten(1).T, image.flatten().tolist(), strict=True) if pixel[1] != IGNORE]
        for unit, image in zip(units, labels, strict=True)
    ]


def blockwise(
    loss: str,
    features: Tensor,
    distorted: Tensor,
    labels: Tensor,
    distorted_labels: Tensor,
    partners: Tensor,
    *,
    temperature: float = 0.07,
) -> Tensor:
    """The same by the functions that are tested."""
    if loss == "within":
        return within_image_contrast(features, distorted, labels, temperature, distorted_labels=distorted_labels)
    if loss == "cross":
        return cross_image_contrast(
            features, distorted, labels, partners, temperature, distorted_labels=distorted_labels
        )
    if loss == "batch":
        return batch_contrast(features, distorted, labels, temperature)
    if loss == "released within":
        return within_image_contrast(features, distorted, labels, temperature, "released", distorted_labels)
    return cross_image_contrast(features, distorted, labels, partners, temperature, "released", distorted_labels)


LOSSES = ["within", "cross", "batch", "released within", "released cross"]


def random_case(
    labels: Tensor,
    partners: Tensor | None = None,
    distorted_labels: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, ...]:
    """Vectors of any length for maps of these labels; the partners are the neighbors unless given."""
    features, distorted = (
        (3 * torch.randn(len(labels), DIM, *labels.shape[1:], dtype=torch.float64)).to(dtype) for _ in range(2)
    )
    partners = torch.arange(len(labels)).roll(1) if partners is None else partners
    return features, distorted, labels, labels if distorted_labels is None else distorted_labels, partners


def value_and_gradients(
    contrast: Callable[..., Any], loss: str, case: tuple[Tensor, ...], temperature: float = 0.07
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The gradients are those of three times the value: they must scale with what comes after."""
    features, distorted, *others = case
    features, distorted = (tensor.clone().requires_grad_() for tensor in (features, distorted))
    value = contrast(loss, features, distorted, *others, temperature=temperature)
    return value, torch.autograd.grad(3 * value, (features, distorted))


pixels = st.lists(st.sampled_from([0, 1, 2, 254, IGNORE]), min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH)
uniform = st.sampled_from([0, 2, IGNORE]).map(lambda label: [label] * (HEIGHT * WIDTH))
maps = st.lists(st.one_of(pixels, uniform), min_size=1, max_size=3)


def as_maps(lists: list[list[int]]) -> Tensor:
    return torch.tensor(lists).view(-1, HEIGHT, WIDTH)


@pytest.mark.parametrize("loss", LOSSES)
@given(
    labels=maps,
    order=st.permutations(range(3)),
    temperature=st.sampled_from([0.05, 0.07, 0.5, 2.0]),
    size=st.sampled_from([(1, 1), (2, 1), (4, 30), (128, 2**22)]),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_equal_the_double_sum(
    loss: str, labels: list[list[int]], order: list[int], temperature: float, size: tuple[int, int], seed: int
) -> None:
    partners = torch.tensor([image for image in order if image < len(labels)])
    check_against_the_literal(loss, labels, None, partners, temperature, size, seed)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "batch"])
@given(labels=maps, distorted_labels=st.lists(pixels, min_size=3, max_size=3), seed=st.integers(0, 1000))
def test_the_copies_may_have_labels_of_their_own(
    loss: str, labels: list[list[int]], distorted_labels: list[list[int]], seed: int
) -> None:
    partners = torch.arange(len(labels)).roll(1)
    own_labels = as_maps(distorted_labels)[: len(labels)]
    check_against_the_literal(loss, labels, own_labels, partners, 0.07, (4, 30), seed)


def check_against_the_literal(
    loss: str,
    labels: list[list[int]],
    distorted_labels: Tensor | None,
    partners: Tensor,
    temperature: float,
    size: tuple[int, int],
    seed: int,
) -> None:
    torch.manual_seed(seed)
    case = random_case(as_maps(labels), partners, distorted_labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MIN_ROWS", size[0])
        patch.setattr(blocks, "CPU_BLOCK", size[1])
        value, gradients = value_and_gradients(blockwise, loss, case, temperature)
    expected, expected_gradients = value_and_gradients(literal, loss, case, temperature)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("within", math.log(math.e + 1) - 1),
        ("cross", math.log(2 * math.e + 1) - 1),
        ("batch", math.log(math.e + 1) - 1),
        ("released within", 2 * math.log(math.e + 1) - 2),
        ("released cross", math.log(math.e + 1) - 1),
    ],
)
def test_two_pixels_at_right_angles_have_a_known_loss(loss: str, expected: float) -> None:
    features = torch.tensor([[2.0, 0.0], [0.0, 0.5]]).view(1, 2, 1, 2)
    labels = torch.tensor([[[0, 1]]])
    value = blockwise(loss, features, 3 * features, labels, labels, torch.tensor([0]), temperature=1.0)
    assert value.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_only_ignored_pixels_give_zero_and_no_gradient(loss: str) -> None:
    case = random_case(torch.full((2, HEIGHT, WIDTH), IGNORE), dtype=torch.float32)
    value, gradients = value_and_gradients(blockwise, loss, case)
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_tiny_temperature_overflows_nowhere(loss: str) -> None:
    labels = torch.tensor([[[0, 1, 1, IGNORE]], [[2, 2, 2, 2]]])
    case = random_case(labels, dtype=torch.float32)
    exact = tuple(tensor.double() if tensor.is_floating_point() else tensor for tensor in case)
    value, gradients = value_and_gradients(blockwise, loss, case, temperature=1e-3)
    expected, expected_gradients = value_and_gradients(blockwise, loss, exact, temperature=1e-3)
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-3)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("loss", LOSSES)
def test_bfloat16_is_rounded_once_and_then_computed_in_float32(loss: str) -> None:
    rounded = random_case(torch.randint(0, 3, (2, HEIGHT, WIDTH)), dtype=torch.bfloat16)
    exact = [tensor.float() if tensor.is_floating_point() else tensor for tensor in rounded]
    value = blockwise(loss, *rounded)
    assert value.dtype == torch.float32
    assert value == blockwise(loss, *exact)
    with torch.autocast("cpu", torch.bfloat16):
        assert value == blockwise(loss, *exact)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_the_matrix_of_all_pairs_is_never_there(loss: str) -> None:
    labels = torch.randint(0, 20, (1, 65, 65))
    with Watched() as watched:
        value_and_gradients(blockwise, loss, random_case(labels, dtype=torch.float32))
    assert 0 < watched.largest < 65**4 / 4


@pytest.mark.parametrize("loss", LOSSES)
def test_the_host_never_waits(loss: str) -> None:
    case = random_case(torch.randint(0, 3, (2, HEIGHT, WIDTH)), dtype=torch.float32)
    with Watched() as watched:
        value_and_gradients(blockwise, loss, case)
    assert not watched.names & {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "bincount", "equal"}
    assert not watched.indexed_by_mask


@pytest.mark.parametrize("loss", LOSSES)
def test_without_gradients_only_the_value_is_computed(loss: str) -> None:
    case = random_case(torch.randint(0, 3, (2, HEIGHT, WIDTH)))
    value, _ = value_and_gradients(blockwise, loss, case)
    with Watched() as watched:
        assert blockwise(loss, *case) == value
    assert "baddbmm_" not in watched.names


class Watched(TorchDispatchMode):
    """Notes the names of the operations, whether one indexes by a mask, and the entries of the largest tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()
        self.indexed_by_mask, self.largest = False, 0

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: tuple[type[Tensor], ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func._schema.name.removeprefix("aten::")
        self.names.add(name)
        if name.startswith("index") and isinstance(args[1], list):
            self.indexed_by_mask |= any(index is not None and index.dtype == torch.bool for index in args[1])
        result = func(*args, **(kwargs or {}))
        tensors = [tensor for tensor in tree_leaves(result) if isinstance(tensor, torch.Tensor)]
        self.largest = max([self.largest, *(tensor.numel() for tensor in tensors)])
        return result
