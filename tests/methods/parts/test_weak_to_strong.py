"""Weak-to-strong consistency: who teaches in a strong view, and where its labels come from."""

import pytest
import torch

from contract import OFF
from fewmask.augment import View
from fewmask.data.batch import Unlabeled
from fewmask.methods.parts.weak_to_strong import (
    WeakToStrongConfig,
    curves,
    mean_of_views,
    pseudo_labeled,
    strong_view,
    sure_cross_entropy,
    weak_view,
)
from fewmask.models.frequency import ClassFrequency
from fewmask.shapes import IGNORE
from plain import plain_cross_entropy


def pseudo_view(num_images: int = 3, num_classes: int = 4) -> View:
    """Pseudo-labeled noise, a part of it padding."""
    images, valid = torch.rand(num_images, 3, 8, 10), torch.rand(num_images, 8, 10) < 0.8
    return pseudo_labeled(View.of(images, valid=valid), torch.randn(num_images, num_classes, 8, 10))


def test_a_pixel_teaches_if_its_label_reaches_the_threshold_and_all_labels_are_counted() -> None:
    view, logits = pseudo_view(), torch.randn(3, 4, 8, 10)
    threshold = view.confidence[0, 0, 0].item()  # reached exactly by one pixel, if it is valid
    expected = plain_cross_entropy(logits, view.labels, view.confidence, threshold)
    assert sure_cross_entropy(logits, view, threshold).item() == pytest.approx(expected, rel=1e-5)
    assert sure_cross_entropy(logits, view, 1.1) == 0


def test_each_view_is_a_mean_over_its_own_pixels() -> None:
    views, logits = [pseudo_view(), pseudo_view()], torch.randn(6, 4, 8, 10)
    first, second = (
        plain_cross_entropy(own, view.labels, view.confidence, 0.5)
        for own, view in zip(logits.chunk(2), views, strict=True)
    )
    assert mean_of_views(logits, views, 0.5).item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_a_box_brings_the_labels_and_the_confidence_of_the_neighbor() -> None:
    weak = pseudo_view(num_images=6)
    strong = strong_view(WeakToStrongConfig(name="supervised", strong=OFF, cutmix_probability=1), weak)
    pasted, given = (strong.images != weak.images).any(dim=1), weak.neighbors()
    for own, neighbors, found in zip(weak, given, strong, strict=True):
        mask = pasted[:, None] if own.dim() == 4 else pasted
        assert torch.equal(found, torch.where(mask, neighbors, own))
    shares = pasted.float().mean(dim=(1, 2))
    assert (shares > 0).all()
    assert (shares < 0.5).all()


def test_colors_change_what_a_strong_view_shows_and_not_its_labels() -> None:
    weak = pseudo_view(num_images=6)
    strong = strong_view(WeakToStrongConfig(name="supervised", cutmix_probability=0), weak)
    assert not torch.equal(strong.images, weak.images)
    assert all(torch.equal(*pair) for pair in zip(strong[1:], weak[1:], strict=True))


def test_padding_has_no_label_and_no_part_in_the_curves() -> None:
    images, valid = torch.rand(2, 3, 8, 10), torch.ones(2, 8, 10, dtype=torch.bool)
    valid[:, :, 5:] = False
    weak = weak_view(WeakToStrongConfig(name="supervised", weak=OFF), Unlabeled(images, valid))
    weak = pseudo_labeled(weak, torch.tensor([9.0, 0.0])[:, None, None].expand(2, 2, 8, 10))
    assert torch.equal(weak.labels == IGNORE, ~valid)
    frequency = ClassFrequency(2, num_labeled=1, num_unlabeled=0)
    frequency.observe(torch.tensor([[[0, 1, 1, 1]]]))
    found = curves(weak, 0.9, frequency)
    assert found["sure"] == 1
    assert found["pseudo_excess"].tolist() == pytest.approx([4.0, 1e-6 / 0.75])
