"""The contrasts with negatives against their formulas in float64, pair by pair, and the draws of ReCo's negatives."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.contrast import (
    contrast_with_all_classes,
    contrast_with_drawn_keys,
    other_class_draws,
    regional_contrast,
)
from fewmask.ops.sampling import Drawn, draw_rows
from fewmask.ops.unit import unit
from fewmask.shapes import IGNORE

K, D, SLOTS, TEMPERATURE = 4, 5, 6, 0.3


def cosine(one: Tensor, other: Tensor) -> Tensor:
    return F.cosine_similarity(one.double(), other.double(), dim=0) / TEMPERATURE


def anchored(classes: Tensor) -> tuple[Tensor, Drawn]:
    member = classes[:, None] == torch.arange(K)
    return torch.randn(len(classes), D).requires_grad_(), draw_rows(member, 7)


def assert_same(found: Tensor, expected: Tensor, anchors: Tensor) -> None:
    """The values, and their gradients on the anchors."""
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = (torch.autograd.grad(value, anchors, retain_graph=True)[0] for value in (found, expected))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_an_anchor_is_compared_with_all_rows_of_the_bank() -> None:
    classes = torch.tensor([0, 1, 1, 2, 3, IGNORE, 0])
    anchors, bank = torch.randn(7, D).requires_grad_(), torch.randn(K, SLOTS, D)
    in_use = torch.arange(SLOTS) < torch.tensor([6, 2, 0, 1])[:, None]
    found = contrast_with_all_classes(anchors, classes, bank, in_use, TEMPERATURE)
    each = []
    for anchor, label in zip(anchors, classes.tolist(), strict=True):
        if label in (0, 1, 3):  # class 2 has no row, and IGNORE is no class
            likeness = {
                (k, s): cosine(anchor, bank[k, s]).exp() for k in range(K) for s in range(SLOTS) if in_use[k, s]
            }
            own = torch.stack([value for (k, _), value in likeness.items() if k == label]).sum()
            each.append(-torch.log(own / torch.stack([*likeness.values()]).sum()))
    assert_same(found, torch.stack(each).mean(), anchors)


def test_an_anchor_is_pushed_from_the_drawn_rows_of_its_classs_bank() -> None:
    classes = torch.tensor([0, 0, 0, 1, 1, 3])
    anchors, drawn = anchored(classes)
    positives, bank, filled = torch.randn(K, D), unit(torch.randn(K, SLOTS, D)), torch.tensor([6, 3, 2, 0])
    negatives, present = torch.randint(0, 2, (K, drawn.rows.shape[1], 3)), torch.tensor([True, True, True, True])
    found = contrast_with_drawn_keys(anchors, drawn, positives, bank, filled, negatives, present, TEMPERATURE)
    of_classes = [torch.zeros((), dtype=torch.float64)] * K
    for label in (0, 1):  # class 2 has no anchor, and class 3 no negatives
        each = []
        for place in drawn.found[label].nonzero().flatten():
            anchor = anchors[drawn.rows[label, place]]
            pull = cosine(anchor, positives[label]).exp()
            push = sum(cosine(anchor, bank[label, slot]).exp() for slot in negatives[label, place])
            each.append(-torch.log(pull / (pull + push)))
        of_classes[label] = torch.stack(each).mean()
    assert_same(found, torch.stack(of_classes).sum() / 4, anchors)


def test_regional_contrast_pushes_an_anchor_from_the_drawn_pixels() -> None:
    classes = torch.tensor([0, 0, 1, 1, 1, 3, IGNORE])
    anchors, drawn = anchored(classes)
    positives, present = torch.randn(K, D), torch.tensor([True, True, False, True])
    negatives = torch.randint(0, len(classes), (K, drawn.rows.shape[1], 4))
    found = regional_contrast(anchors, drawn, positives, negatives, present, TEMPERATURE)
    of_classes = []
    for label in (0, 1, 3):
        each = []
        for place in drawn.found[label].nonzero().flatten():
            anchor = anchors[drawn.rows[label, place]]
            pull = cosine(anchor, positives[label]).exp()
            push = sum(cosine(anchor, anchors[row].detach()).exp() for row in negatives[label, place])
            each.append(-torch.log(pull / (pull + push)))
        of_classes.append(torch.stack(each).mean())
    assert_same(found, torch.stack(of_classes).mean(), anchors)
    alone = torch.tensor([True, False, False, False])
    assert regional_contrast(anchors, drawn, positives, negatives, alone, TEMPERATURE) == 0


def test_negatives_are_of_other_classes_and_more_often_of_those_that_resemble_the_anchors() -> None:
    classes = torch.tensor([0, 1, 1, 1, 1, 2, 2, IGNORE])
    means, present = torch.randn(K, D), torch.tensor([True, True, True, False])
    with torch.autocast("cpu", torch.float16):  # which has no place for the logits of what is never drawn
        drawn = other_class_draws(classes, means, present, (60, 50), softness=0.5)
    assert drawn.shape == (K, 60, 50)
    for label in range(3):
        weights = [math.exp(F.cosine_similarity(means[label], means[k], dim=0) / 0.5) for k in range(3)]
        weights[label] = 0.0
        shares = [weights[k] / sum(weights) / int((classes == k).sum()) if k < 3 else 0.0 for k in classes.tolist()]
        found = drawn[label].flatten().bincount(minlength=8) / 3000
        assert (found - torch.tensor(shares)).abs().max() < 0.05  # five standard deviations are 0.046


@pytest.mark.parametrize("contrast", ["all", "drawn", "regional"])
def test_without_any_class_a_contrast_is_0_and_half_precision_gives_float32(contrast: str) -> None:
    anchors, nothing = torch.randn(5, D, dtype=torch.bfloat16).requires_grad_(), torch.zeros(K, dtype=torch.bool)
    drawn = draw_rows(torch.zeros(5, K, dtype=torch.bool), 3)
    negatives, bank = torch.zeros(K, 3, 2, dtype=torch.int64), torch.zeros(K, SLOTS, D)
    classes, means = torch.full((5,), IGNORE), torch.zeros(K, D)
    filled = torch.zeros(K, dtype=torch.int64)
    losses: dict[str, Any] = {
        "all": lambda: contrast_with_all_classes(anchors, classes, bank, bank.bool().any(dim=2), TEMPERATURE),
        "drawn": lambda: contrast_with_drawn_keys(anchors, drawn, means, bank, filled, negatives, nothing, TEMPERATURE),
        "regional": lambda: regional_contrast(anchors, drawn, means, negatives, nothing, TEMPERATURE),
    }
    loss = losses[contrast]()
    loss.backward()
    assert loss == 0
    assert loss.dtype == torch.float32
    assert anchors.grad is not None
    assert not anchors.grad.any()
    assert other_class_draws(classes, means, nothing, (3, 2), 0.5).max() < 5
