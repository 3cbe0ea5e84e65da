"""Augments whole batches as a recipe says: labeled images by domain, pseudo-labeled images and unlabeled images."""

from collections.abc import Iterable

import torch

from fewmask.augment.augmentation import Augmentation
from fewmask.augment.steps import take
from fewmask.augment.view import View
from fewmask.data.batch import Labeled, Unlabeled
from fewmask.shapes import Confidence, Images, Labels


def augment(
    how: Augmentation, images: Images, labels: Labels, num_classes: int, confidence: Confidence | None = None
) -> View:
    """One random view of every image of the batch. A confidence of None means 1 everywhere."""
    return take(how.steps(num_classes), View.of(images, labels, confidence))


def augment_apart(how: Augmentation, parts: Iterable[Labeled], num_classes: int) -> View:
    """One view of the labeled images of all parts, in their order. ClassMix pastes only within a part."""
    return View.joined([augment(how, part.images, part.labels, num_classes) for part in parts])


def augment_unlabeled(how: Augmentation, unlabeled: Unlabeled) -> Unlabeled:
    """One random view of every image, without ClassMix, which needs labels."""
    view = take(how.steps(num_classes=1), View.of(unlabeled.images, valid=unlabeled.valid))
    return Unlabeled(view.images, view.valid)


@torch.no_grad()
def distort(how: Augmentation, images: Images) -> Images:
    """Changes only color and blur, the steps of a view that leave every pixel in its place."""
    for step in how.colors():
        images = step.change(images)
    return images
