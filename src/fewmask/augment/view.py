"""A view: images on the device, with the labels, confidence and validity that are augmented with them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Shaped
from torch import Tensor

from fewmask.shapes import IGNORE, Confidence, Images, Labels, Valid


class View(NamedTuple):
    """A batch of images with labels or pseudo-labels, the confidence of the labels, and which pixels are valid.

    Pixels that a step brings in from outside an image have the label IGNORE and confidence 0, and are not valid.
    """

    images: Images
    labels: Labels
    """0..k-1, or IGNORE where a pixel has no label. Images that nothing has labeled are IGNORE everywhere."""
    confidence: Confidence
    """How far the label can be trusted, in [0, 1]; 1 for labels that people gave."""
    valid: Valid
    """False where there is no image: in padding, and where a part was cut out."""

    @staticmethod
    def of(
        images: Images, labels: Labels | None = None, confidence: Confidence | None = None, valid: Valid | None = None
    ) -> "View":
        """A view of the images as they are.

        Args:
            images: RGB in [0, 1].
            labels: IGNORE everywhere if None.
            confidence: 1 everywhere if None.
            valid: if None, every pixel of images without labels is valid. In images with labels, pixels with a label
                are valid, because the padding of a crop has none.
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
        """Joins several views into one batch, in their order."""
        return View(*(torch.cat(maps) for maps in zip(*views, strict=True)))

    def with_pseudo_labels(self, labels: Labels, confidence: Confidence) -> "View":
        """The same images with pseudo-labels; IGNORE and confidence 0 where a pixel is not valid."""
        return self._replace(labels=labels.masked_fill(~self.valid, IGNORE), confidence=confidence * self.valid)

    def neighbors(self) -> "View":
        """For every image the image before it in the batch; for the first image, the last one."""
        return View(*(maps.roll(1, dims=0) for maps in self))

    def shuffled(self) -> "View":
        """The same images in a random order."""
        order = torch.rand(len(self.images), device=self.images.device).argsort()
        return View(*(maps.index_select(0, order) for maps in self))

    def repeated(self, num_images: int) -> "View":
        """`num_images` images, taken in turn from the first on: the partners of a batch of another size."""
        return self if num_images == len(self.images) else View(*(in_turn(maps, num_images) for maps in self))


def in_turn(maps: Shaped[Tensor, "b *c h w"], num_images: int) -> Shaped[Tensor, "n *c h w"]:
    """The maps of `num_images` images, taken in turn from the first on."""
    if num_images == len(maps):
        return maps
    return maps.index_select(0, torch.arange(num_images, device=maps.device) % len(maps))
