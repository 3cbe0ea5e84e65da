"""Whole batches as the numbers of a recipe have them: labeled images by domain, pseudo-labeled and unlabeled images."""

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
    """One random view of every image of the batch; confidence is all 1 when None."""
    return take(how.steps(num_classes), View.of(images, labels, confidence))


def augment_apart(how: Augmentation, parts: Iterable[Labeled], num_classes: int) -> View:
    """Views of labeled images in parts, one after the other; ClassMix pastes nothing from part to part."""
    return View.joined([augment(how, part.images, part.labels, num_classes) for part in parts])


def augment_unlabeled(how: Augmentation, unlabeled: Unlabeled) -> Unlabeled:
    """One random view of every image, without ClassMix, which needs labels."""
    view = take(how.steps(num_classes=1), View.of(unlabeled.images, valid=unlabeled.valid))
    return Unlabeled(view.images, view.valid)


@torch.no_grad()
def distort(how: Augmentation, images: Images) -> Images:
    """The part of a view that leaves every pixel in its place: color and blur."""
    for step in how.colors():
        images = step.change(images)
    return images
