"""CorrMatch: its terms against their definitions, the threshold that follows, and what is propagated where."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from contract import OFF, SETTLED, build, settled, spied, toy_batch, without_dropout
from fewmask.augment import View
from fewmask.augment.mix import Pasting
from fewmask.methods import CorrMatch
from fewmask.models.build import NetConfig
from fewmask.models.correlation import CorrelationHead, draw_segments, spread
from fewmask.shapes import IGNORE

PLAIN: dict[str, Any] = {"weak": OFF, "strong": OFF, "class_balance": False}


@pytest.fixture
def batch() -> Any:
    batch = toy_batch(CorrMatch)
    batch.unlabeled.valid[0, :, -10:] = False
    return batch


@pytest.fixture(scope="module")
def learned(tiny_net: NetConfig) -> Any:
    return settled(build(CorrMatch, tiny_net), toy_batch(CorrMatch)).state_dict()


@pytest.fixture
def make(tiny_net: NetConfig, learned: Any) -> Any:
    def built(**settings: Any) -> Any:
        method = build(CorrMatch, tiny_net, **PLAIN | settings)
        method.load_state_dict(learned)
        without_dropout(method.head)
        return method

    return built


def test_a_cell_passes_its_logits_on_to_the_cells_that_it_resembles() -> None:
    head, maps, logits = CorrelationHead(5, 3, dim=4).eval(), torch.randn(2, 5, 2, 3), torch.randn(2, 3, 2, 3)
    projected = head.project(maps)
    one, other = head.from_cells(projected).flatten(2), head.to_cells(projected).flatten(2)
    found = spread(logits, head(maps), (2, 3)).flatten(2)
    for image in range(2):
        expected = torch.zeros(3, 6)
        for cell in range(6):
            shares = torch.stack([one[image, :, cell] @ other[image, :, to] / 3**0.5 for to in range(6)]).softmax(dim=0)
            expected += logits[image].flatten(1)[:, cell, None] * shares
        torch.testing.assert_close(found[image], expected, rtol=1e-4, atol=1e-5)


def test_a_segment_is_what_resembles_its_cell_more_than_midway() -> None:
    correlation = torch.tensor([[[0.5, 0.25, 0.1, 0.1]] * 4])
    assert draw_segments(correlation, (2, 2), 3, (2, 2)).tolist() == [[[[True, False], [False, False]]] * 3]


def test_every_term_is_its_definition(make: Any, batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a box and without dropped channels, the strong view and the dropped logits are the weak ones."""
    method = make(dropout=0.0, cutmix_probability=0.0, sup_weight=0.5, threshold_momentum=1.0)
    (images, labels), (unlabeled, valid), *_ = batch
    both, strong = method._seen(torch.cat([images, unlabeled])), method._seen(unlabeled)
    weak = both.logits[2:]
    confidence, predicted = weak.softmax(dim=1).max(dim=1)
    sure = valid & (confidence >= method.threshold)
    propagated = spied(monkeypatch, method, "_propagated")
    losses = method.step(batch, SETTLED).losses
    ((new_labels, counted),) = propagated

    def mean(logits: Tensor, targets: Tensor, counts: Tensor) -> Any:
        each = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
        return (each * counts).sum() / valid.sum()

    log_ratio = weak.log_softmax(dim=1) - strong.logits.log_softmax(dim=1)
    divergence = (weak.softmax(dim=1) * log_ratio).sum(dim=1)
    expected = {
        "sup": F.cross_entropy(both.logits[:2], labels) / 4,
        "correlation_sup": F.cross_entropy(both.spread[:2], labels) / 4,
        "pseudo": mean(strong.logits, new_labels, counted) / 8,
        "kl": (divergence * sure).sum() / valid.sum() / 8,
        "feature": mean(weak, predicted, sure) / 8,
        "correlation": (mean(strong.spread, new_labels, counted) + mean(both.spread[2:], predicted, sure)) / 16,
    }
    assert 0 < sure.sum() < valid.sum()
    assert (sure & ~counted).sum() == 0
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {name: loss.item() for name, loss in expected.items()}, rel=2e-3, abs=1e-6
    )


def test_the_threshold_follows_the_mean_of_the_classes_largest_confidences(make: Any) -> None:
    method = make(threshold_momentum=0.75)
    method.threshold.fill_(0.4)
    labels, confidence = torch.tensor([[[0, 0], [2, IGNORE]]]), torch.tensor([[[0.5, 0.7], [0.9, 0.99]]])
    view = View.of(torch.rand(1, 3, 2, 2), labels, confidence)
    method._follow(view)
    assert method.threshold.item() == pytest.approx(0.75 * 0.4 + 0.25 * 0.8)
    method._follow(view._replace(labels=torch.full_like(labels, IGNORE)))
    assert method.threshold.item() == pytest.approx(0.5)


def test_labels_spread_to_unsure_pixels_and_never_into_a_box_or_out_of_the_image(make: Any, batch: Any) -> None:
    method = make(segment_stride=1)
    method.threshold.fill_(0.5)
    mask = torch.zeros(1, 4, 6, dtype=torch.bool)
    mask[:, :2, :2] = True
    valid = torch.ones_like(mask)
    valid[:, :, 5] = False
    labels = torch.where(valid, torch.where(mask, 3, 1), IGNORE)
    sure = valid.clone()
    sure[:, 3] = False
    strong = View(torch.rand(1, 3, 4, 6), labels.masked_fill(~sure & valid, 2), sure.float(), valid)
    alike = torch.full((1, 6, 6), 1.0)
    alike[:, :, [1, 4]] = 0.0  # every cell resembles the columns at the sides
    found, counted = method._propagated(alike, (2, 3), strong, sure, Pasting(mask, None))
    inside = draw_segments(alike, (2, 3), 1, (8, 8))[:, 0, :4, :6] & valid & ~mask  # the network pads to 8 x 8
    assert inside.tolist() == [[[False] * 6, [False] * 6, [True] * 2 + [False] * 4, [True] * 2 + [False] * 4]]
    assert torch.equal(found, torch.where(inside, 1, strong.labels))
    assert torch.equal(counted, sure | inside)
    assert (inside & ~sure).any()
