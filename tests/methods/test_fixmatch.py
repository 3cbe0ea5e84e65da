"""FixMatch: its two terms against plain loops, on the views that a step draws."""

from typing import Any

import pytest
import torch

from contract import OFF, SETTLED, build, toy_batch
from fewmask.methods import FixMatch
from fewmask.methods.parts.weak_to_strong import strong_view, weak_view
from fewmask.models.build import NetConfig
from plain import plain_cross_entropy, plain_labels


def test_both_terms_equal_plain_loops(tiny_net: NetConfig) -> None:
    batch = toy_batch(FixMatch)
    batch.unlabeled.valid[0, :, 30:] = False
    settings: dict[str, Any] = {"weak": OFF, "class_balance": False, "cutmix_probability": 1.0}
    method = build(FixMatch, tiny_net, **settings)
    both = method.net(torch.cat([batch.labeled.images, batch.unlabeled.images])).logits
    labels, confidence = plain_labels(both[2:], batch.unlabeled.valid)
    threshold = confidence.median().item()
    method = build(FixMatch, tiny_net, **settings | {"confidence_threshold": threshold})

    torch.manual_seed(3)
    losses, watch = method.step(batch, SETTLED)
    torch.manual_seed(3)
    method.view(batch)
    weak = weak_view(method.config, batch.unlabeled).with_pseudo_labels(labels, confidence)
    torch.testing.assert_close(weak.images, batch.unlabeled.images)
    strong = strong_view(method.config, weak)
    assert not torch.equal(strong.labels, labels)
    expected = plain_cross_entropy(method.net(strong.images).logits, strong.labels, strong.confidence, threshold)
    assert losses["pseudo"].item() == pytest.approx(expected / 2, rel=1e-4)
    assert losses["sup"].item() == pytest.approx(plain_cross_entropy(both[:2], batch.labeled.labels) / 2, rel=1e-4)
    assert 0.1 < watch["sure"] < 0.9
