"""One training batch: labeled images with their labels, and unlabeled images, whose type has no labels."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from fewmask.shapes import Bool


class Labeled(NamedTuple):
    """Images [b 3 h w] and labels [b h w]; uint8 from disk, float [0, 1] and int64 on the device."""

    images: UInt8[Tensor, "b 3 h w"] | Float[Tensor, "b 3 h w"]
    labels: UInt8[Tensor, "b h w"] | Int64[Tensor, "b h w"]


class Unlabeled(NamedTuple):
    """Images [u 3 h w], and their valid pixels [u h w]: a pixel is False where it is padding outside the image."""

    images: UInt8[Tensor, "u 3 h w"] | Float[Tensor, "u 3 h w"]
    valid: Bool[Tensor, "u h w"]


class Batch(NamedTuple):
    """What a method's step gets; `unlabeled` is None for methods that use labels only.

    With a source domain, `labeled` holds images of both domains: first those of the target, then `num_source` images of
    the source. `held_out` holds a labeled crop that is not learned from, for methods that ask for it.
    """

    labeled: Labeled
    unlabeled: Unlabeled | None
    num_source: int = 0
    held_out: Labeled | None = None

    @property
    def target(self) -> Labeled:
        """The labeled images of the target domain, which are all images if there is no source domain."""
        count = len(self.labeled.images) - self.num_source
        return Labeled(self.labeled.images[:count], self.labeled.labels[:count])

    @property
    def source(self) -> Labeled:
        """The images of the source domain; empty without a source domain."""
        count = len(self.labeled.images) - self.num_source
        return Labeled(self.labeled.images[count:], self.labeled.labels[count:])

    @property
    def domains(self) -> tuple[Labeled, ...]:
        """The labeled images of each domain: the target's, then the source's if there is a source domain."""
        return (self.target, self.source) if self.num_source else (self.labeled,)

    def to(self, device: torch.device) -> "Batch":
        """The batch on the device, images as float RGB in [0, 1], labels as int64; floats stay as they are."""
        labeled = _labeled_on(device, self.labeled)
        held_out = None if self.held_out is None else _labeled_on(device, self.held_out)
        if self.unlabeled is None:
            return Batch(labeled, None, self.num_source, held_out)
        valid = self.unlabeled.valid.to(device, non_blocking=True)
        return Batch(labeled, Unlabeled(to_unit(self.unlabeled.images, device), valid), self.num_source, held_out)


def _labeled_on(device: torch.device, labeled: Labeled) -> Labeled:
    return Labeled(to_unit(labeled.images, device), labeled.labels.to(device, non_blocking=True).long())


def to_unit(images: Tensor, device: torch.device) -> Tensor:
    """Images on the device as float in [0, 1]; floats stay as they are."""
    moved = images.to(device, non_blocking=True)
    return moved if moved.is_floating_point() else moved.float().div_(255)
