"""Labeled pixels of rare classes come into strong views with their labels, and those of frequent classes never do."""

from typing import Any

import pytest
import torch

from contract import OFF, SETTLED, build, toy_batch
from fewmask.augment import View
from fewmask.methods import METHODS
from fewmask.methods.parts.weak_to_strong import WeakToStrongConfig, rare_paste, strong_view
from fewmask.models.build import NetConfig
from fewmask.models.frequency import ClassFrequency

FixMatch: Any = next(method for method in METHODS if method.name == "fixmatch")


def test_the_rarest_class_is_pasted_and_frequent_ones_are_not() -> None:
    batch = toy_batch(FixMatch, num_images=4)
    labels = batch.labeled.labels
    frequency = ClassFrequency(4, 4, 0)
    frequency.labeled.copy_(torch.tensor([1000, 100, 25, 4]))  # the median of these is 62.5
    labeled = View.of(batch.labeled.images, labels)
    weak = View.of(batch.unlabeled.images).with_pseudo_labels(torch.zeros_like(labels), torch.full(labels.shape, 0.5))
    config = WeakToStrongConfig(strong=OFF, cutmix_probability=0, rare_paste_probability=1)
    times = 200
    found = [strong_view(config, weak, rare_paste(config, batch, labeled, frequency)) for _ in range(times)]
    for view in found:
        taken = view.labels > 0
        assert torch.equal(view.labels[taken], labels[taken])
        assert torch.equal(view.confidence, torch.where(taken, 1.0, 0.5))
        came = taken[:, None]
        assert torch.equal(view.images, torch.where(came, batch.labeled.images, batch.unlabeled.images))
        assert torch.equal(view.labels == 3, labels == 3)  # the rarest, always
    assert not any((view.labels == 1).any() for view in found)
    often = sum((view.labels == 2).flatten(1).any(dim=1).double().mean().item() for view in found) / times
    assert often == pytest.approx((4 / 25) ** 0.5, abs=0.07)
    assert rare_paste(WeakToStrongConfig(), batch, labeled, frequency) == []


def test_nothing_is_pasted_from_the_source(tiny_net: NetConfig) -> None:
    batch = toy_batch(FixMatch)
    batch = batch._replace(num_source=1)
    (step,) = rare_paste(
        WeakToStrongConfig(rare_paste_probability=0.5), batch, View.of(*batch.labeled), ClassFrequency(4, 4, 0)
    )
    assert len(step.partner.images) == 1  # type: ignore[attr-defined]
    method = build(FixMatch, tiny_net, rare_paste_probability=1.0)
    assert all(loss.isfinite() for loss in method.step(batch, SETTLED).losses.values())
