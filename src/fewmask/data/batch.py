"""One training batch: labeled images with their labels, and unlabeled images, which have none by type."""

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
    """Images [u 3 h w] and where they hold an image at all (False: padding) [u h w]."""

    images: UInt8[Tensor, "u 3 h w"] | Float[Tensor, "u 3 h w"]
    valid: Bool[Tensor, "u h w"]


class Batch(NamedTuple):
    """What a method's step gets; `unlabeled` is None for methods that use labels only.

    With a source domain, `labeled` holds images of both: first those of the target, then `num_source` of the source.
    """

    labeled: Labeled
    unlabeled: Unlabeled | None
    num_source: int = 0

    @property
    def target(self) -> Labeled:
        """The labeled images of the target domain; all of them where there is no other."""
        count = len(self.labeled.images) - self.num_source
        return Labeled(self.labeled.images[:count], self.labeled.labels[:count])

    @property
    def source(self) -> Labeled:
        """The images of the source domain; none where there is no source."""
        count = len(self.labeled.images) - self.num_source
        return Labeled(self.labeled.images[count:], self.labeled.labels[count:])

    @property
    def domains(self) -> tuple[Labeled, ...]:
        """The labeled images apart: of the target, and of the source where there is one."""
        return (self.target, self.source) if self.num_source else (self.labeled,)

    def to(self, device: torch.device) -> "Batch":
        """The batch on the device, images as float RGB in [0, 1], labels as int64; floats stay as they are."""
        labeled = Labeled(
            to_unit(self.labeled.images, device), self.labeled.labels.to(device, non_blocking=True).long()
        )
        if self.unlabeled is None:
            return Batch(labeled, None, self.num_source)
        valid = self.unlabeled.valid.to(device, non_blocking=True)
        return Batch(labeled, Unlabeled(to_unit(self.unlabeled.images, device), valid), self.num_source)


def to_unit(images: Tensor, device: torch.device) -> Tensor:
    """Images on the device as float in [0, 1]; floats stay as they are."""
    moved = images.to(device, non_blocking=True)
    return moved if moved.is_floating_point() else moved.float().div_(255)
