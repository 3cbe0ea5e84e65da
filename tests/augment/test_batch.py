"""Whole batches: the numbers of Table 1, labels with images, domains apart, and unlabeled images with their padding."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fewmask.augment.augmentation import STRONG, WEAK, Augmentation
from fewmask.augment.batch import augment, augment_apart, augment_unlabeled
from fewmask.data.batch import Labeled, Unlabeled
from fewmask.shapes import IGNORE

K = 4
OFF = {
    "flip_probability": 0.0,
    "scale_probability": 0.0,
    "jitter_probability": 0.0,
    "grayscale_probability": 0.0,
    "blur_probability": 0.0,
    "classmix_probability": 0.0,
}


def scene(num_images: int = 6, height: int = 24, width: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    shape = (num_images, height, width)
    return torch.rand(num_images, 3, height, width), torch.randint(0, K, shape), torch.rand(shape)


def test_weak_and_strong_are_those_of_table_1() -> None:
    weak = [0.5, 0.5, 0.2, 0.15, 0.15, 0.075, 0.05, 0.0, 0.0, 0.2]  # no grayscale
    strong = [0.5, 0.8, 0.8, 0.30, 0.30, 0.15, 0.10, 0.0, 0.2, 0.8]
    for how, column in ((WEAK, weak), (STRONG, strong)):
        settings = how.model_dump(exclude={"blur_sigma"})
        assert settings.pop("scale_range") == (0.75, 1.75)
        assert list(settings.values()) == column


def test_everything_off_is_the_identity() -> None:
    images, labels, confidence = scene()
    view = augment(Augmentation(**OFF), images, labels, K, confidence)
    assert torch.equal(view.labels, labels)
    torch.testing.assert_close(view.images, images, rtol=0, atol=1e-5)
    torch.testing.assert_close(view.confidence, confidence, rtol=0, atol=1e-5)


def test_every_probability_switches_its_own_change() -> None:
    for name in OFF:
        images, labels, _ = scene()
        view = augment(Augmentation(**OFF | {name: 1.0}), images, labels, K)
        assert not torch.allclose(view.images, images, atol=1e-3), name
        moves_labels = name in ("flip_probability", "scale_probability", "classmix_probability")
        assert torch.equal(view.labels, labels) != moves_labels, name


def test_without_confidence_it_is_one_inside_and_zero_outside() -> None:
    images, labels, _ = scene()
    how = Augmentation(**OFF | {"scale_probability": 1.0, "scale_range": (0.5, 0.5)})
    view = augment(how, images, labels, K)
    outside = view.labels == IGNORE
    assert outside.float().mean().item() == pytest.approx(0.75, abs=0.05)
    assert (view.confidence[outside] < 1).all()
    assert view.confidence[~outside].mean() > 0.9


def test_strong_views_of_one_batch_differ() -> None:
    images, labels, confidence = scene()
    first, second = (augment(STRONG, images, labels, K, confidence) for _ in range(2))
    assert not torch.equal(first.images, second.images)


def test_images_of_one_batch_are_changed_differently() -> None:
    images, labels, _ = scene(num_images=1)
    view = augment(
        Augmentation(**OFF | {"scale_probability": 1.0}), images.repeat(8, 1, 1, 1), labels.repeat(8, 1, 1), K
    )
    assert len({image.sum().item() for image in view.images}) == 8


def test_images_stay_in_range_and_the_batch_is_not_changed() -> None:
    images, labels, confidence = scene(num_images=20)
    copies = [maps.clone() for maps in (images, labels, confidence)]
    view = augment(STRONG, images, labels, K, confidence)
    assert view.images.min() >= 0
    assert view.images.max() <= 1.000001
    assert view.confidence.min() >= 0
    assert view.confidence.max() <= 1
    assert all(torch.equal(*pair) for pair in zip(copies, (images, labels, confidence), strict=True))


def test_ignored_images_have_ignored_views() -> None:
    images, labels, confidence = scene()
    view = augment(STRONG, images, torch.full_like(labels, IGNORE), K, torch.zeros_like(confidence))
    assert (view.labels == IGNORE).all()
    assert (view.confidence == 0).all()


def test_one_pixel_can_be_augmented() -> None:
    images, labels, _ = scene(num_images=4, height=1, width=1)
    view = augment(STRONG, images, labels, K)
    assert view.images.isfinite().all()


def test_autocast_changes_nothing_in_a_view() -> None:
    images, labels, confidence = scene(height=64, width=96)
    torch.manual_seed(1)
    exact = augment(STRONG, images, labels, K, confidence)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        view = augment(STRONG, images, labels, K, confidence)
    assert all(torch.equal(*pair) for pair in zip(view, exact, strict=True))


def test_views_are_outside_of_autograd() -> None:
    images, labels, confidence = scene()
    assert not augment(STRONG, images.requires_grad_(), labels, K, confidence).images.requires_grad


@pytest.mark.parametrize(
    "setting", [{"flip_probability": 1.5}, {"hue": 0.6}, {"scale_range": (0.0, 1.0)}, {"blurr": 1}]
)
def test_impossible_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Augmentation(**setting)


def test_an_unlabeled_view_moves_the_padding_along_and_mixes_nothing() -> None:
    images, valid = torch.stack([torch.zeros(3, 8, 12), torch.ones(3, 8, 12)]), torch.ones(2, 8, 12, dtype=torch.bool)
    valid[0, :, :4] = False
    how = Augmentation(flip_probability=1, scale_probability=0, jitter_probability=0, classmix_probability=1)
    view = augment_unlabeled(how, Unlabeled(images, valid))
    torch.testing.assert_close(view.images, images)
    assert torch.equal(view.valid, valid.flip(2))


def test_an_unlabeled_view_is_not_valid_outside_of_the_image() -> None:
    half = Augmentation(
        flip_probability=0, scale_probability=1, scale_range=(0.5, 0.5), jitter_probability=0, classmix_probability=0
    )
    view = augment_unlabeled(half, Unlabeled(torch.ones(2, 3, 16, 24), torch.ones(2, 16, 24, dtype=torch.bool)))
    assert view.valid.float().mean().item() == pytest.approx(0.25, abs=0.1)
    assert view.images.amin(dim=1)[view.valid].min() > 0.4


def test_parts_come_one_after_the_other_and_nothing_is_pasted_from_part_to_part() -> None:
    parts = [Labeled(torch.rand(3, 3, 8, 8), 2 * part + torch.randint(0, 2, (3, 8, 8))) for part in range(2)]
    view = augment_apart(Augmentation(classmix_probability=1), parts, K)
    assert (view.labels[:3][view.valid[:3]] < 2).all()
    assert (view.labels[3:][view.valid[3:]] >= 2).all()


def test_void_and_padding_are_not_valid_in_views_of_labeled_images() -> None:
    images, labels, _ = scene()
    labels[:, :5] = IGNORE
    view = augment(STRONG, images, labels, K)
    assert torch.equal(view.valid, view.labels != IGNORE)
