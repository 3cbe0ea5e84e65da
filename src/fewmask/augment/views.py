"""Weak and strong augmentation on the device: mix, one warp, color and blur, drawn per image (Table 1).

Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank, ICCV 2021. The order (mix, warp, color, blur) is the released code's; the paper gives none.
"""

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import torch
from pydantic import Field

from fewmask.data.batch import Labeled, Unlabeled
from fewmask.ops.color import JitterStrength, blur, grayscale, jitter
from fewmask.ops.mix import paste_classes
from fewmask.ops.warp import draw_warp, warp_images
from fewmask.settings import Settings
from fewmask.shapes import IGNORE, Confidence, Images, Labels

Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0, le=1)]


class Augmentation(Settings):
    """How a view is made; the defaults are the paper's weak set-up for labeled images."""

    flip_probability: Probability = 0.5
    """Left for right."""
    scale_probability: Probability = 0.5
    scale_range: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.75, 1.75)
    """The factor is drawn from it; above 1 cuts off the borders, below 1 pads them."""
    jitter_probability: Probability = 0.2
    brightness: Strength = 0.15
    """The jitter multiplies it by a factor between 1 - this and 1 + this; contrast and saturation likewise."""
    contrast: Strength = 0.15
    saturation: Strength = 0.075
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """It turns by up to this share of the circle."""
    grayscale_probability: Probability = 0.0
    blur_probability: Probability = 0.0
    blur_sigma: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.1, 1.5)
    """Pixels."""
    classmix_probability: Probability = 0.2
    """Half of the classes of another image of the batch are pasted over it."""


WEAK = Augmentation()
STRONG = Augmentation(
    scale_probability=0.8,
    jitter_probability=0.8,
    brightness=0.30,
    contrast=0.30,
    saturation=0.15,
    hue=0.10,
    blur_probability=0.2,
    classmix_probability=0.8,
)


class View(NamedTuple):
    """Augmented images with what moved along.

    What a warp brings in from outside the crop has the label IGNORE and confidence 0; padding that a crop came with has
    the label IGNORE and the confidence that it was given.
    """

    images: Images
    labels: Labels
    confidence: Confidence


@torch.no_grad()
def augment(
    how: Augmentation, images: Images, labels: Labels, num_classes: int, confidence: Confidence | None = None
) -> View:
    """One random view of every image of the batch; confidence is all 1 when None."""
    confidence = torch.ones_like(images[:, 0]) if confidence is None else confidence
    images, labels, confidence = paste_classes(images, labels, confidence, num_classes, how.classmix_probability)
    warp = draw_warp(len(images), images.device, how.flip_probability, how.scale_probability, how.scale_range)
    images, labels, confidence = warp_images(warp, images, labels, confidence)
    return View(distort(how, images), labels, confidence)


def augment_apart(how: Augmentation, parts: Iterable[Labeled], num_classes: int) -> View:
    """Views of labeled images in parts, one after the other; ClassMix pastes nothing from part to part."""
    views = [augment(how, part.images, part.labels, num_classes) for part in parts]
    return View(*(torch.cat(maps) for maps in zip(*views, strict=True)))


def augment_unlabeled(how: Augmentation, unlabeled: Unlabeled) -> Unlabeled:
    """One random view of every image, without ClassMix, which needs labels."""
    one_class = torch.zeros_like(unlabeled.valid, dtype=torch.int64).masked_fill(~unlabeled.valid, IGNORE)
    view = augment(how, unlabeled.images, one_class, num_classes=1)  # half of one class is none: nothing is pasted
    return Unlabeled(view.images, view.labels != IGNORE)


@torch.no_grad()
def distort(how: Augmentation, images: Images) -> Images:
    """The part of a view that leaves every pixel in its place: color and blur."""
    strength = JitterStrength(how.brightness, how.contrast, how.saturation, how.hue)
    images = jitter(images, how.jitter_probability, strength)
    return blur(grayscale(images, how.grayscale_probability), how.blur_probability, how.blur_sigma)
