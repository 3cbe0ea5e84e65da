"""A view: images on the device with all that moves along when they are augmented."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Shaped
from torch import Tensor

from fewmask.shapes import IGNORE, Confidence, Images, Labels, Valid


class View(NamedTuple):
    """A batch of images, with labels or pseudo-labels and how far these and the pixels themselves count.

    What a step brings in from outside of an image has the label IGNORE, confidence 0, and is not valid.
    """

    images: Images
    labels: Labels
    """IGNORE where a pixel has none: everywhere, as long as nothing labels the images."""
    confidence: Confidence
    """How far the label can be trusted, in [0, 1]; 1 for labels that people gave."""
    valid: Valid
    """False where there is no image: padding, and what was cut out."""

    @staticmethod
    def of(
        images: Images, labels: Labels | None = None, confidence: Confidence | None = None, valid: Valid | None = None
    ) -> "View":
        """The images as they are.

        Args:
            images: RGB in [0, 1].
            labels: IGNORE everywhere if None.
            confidence: 1 everywhere if None.
            valid: if None, every pixel of images without labels, and every pixel with a label of images that have
                them: what a crop padded has none.
        """
        if valid is None:
            valid = torch.ones_like(images[:, 0], dtype=torch.bool) if labels is None else labels != IGNORE
        if labels is None:
            labels = torch.full_like(valid, IGNORE, dtype=torch.int64)
        if confidence is None:
            confidence = torch.ones_like(images[:, 0])
        return View(images, labels, confidence, valid)

    @staticmethod
    def joined(views: Sequence["View"]) -> "View":
        """One batch of several, in their order."""
        return View(*(torch.cat(maps) for maps in zip(*views, strict=True)))

    def with_pseudo_labels(self, labels: Labels, confidence: Confidence) -> "View":
        """The same images with the classes that a network gives them; where there is no image there is no class."""
        return self._replace(labels=labels.masked_fill(~self.valid, IGNORE), confidence=confidence * self.valid)

    def neighbors(self) -> "View":
        """At every place the image before it; at the first place, the last image."""
        return View(*(maps.roll(1, dims=0) for maps in self))

    def repeated(self, num_images: int) -> "View":
        """So many images, from the first on and around again, which tells the partners of a batch of another size."""
        return self if num_images == len(self.images) else View(*(in_turn(maps, num_images) for maps in self))


def in_turn(maps: Shaped[Tensor, "b *c h w"], num_images: int) -> Shaped[Tensor, "n *c h w"]:
    """The maps of so many images, from the first on and around again."""
    if num_images == len(maps):
        return maps
    return maps.index_select(0, torch.arange(num_images, device=maps.device) % len(maps))
