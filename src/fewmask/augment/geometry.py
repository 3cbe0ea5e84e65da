"""Steps that move pixels: scale, flip, crop. Several are one sampling, and what they drew can move other maps too."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from fewmask.augment.view import View
from fewmask.ops.warp import Warp, flipped, no_warp, placed, sample_nearest, sample_smooth, sampling_grid, scaled
from fewmask.shapes import IGNORE, Float, Images

Size = tuple[int, int]
"""Height and width in pixels."""


class Placement(NamedTuple):
    """Where every pixel of a new view comes from, drawn for each image of a batch."""

    warp: Warp
    before: Size
    """Of the images that it was drawn for."""
    after: Size
    """Of the view."""

    def __call__(self, view: View) -> View:
        """Moves images and confidence bilinearly, labels and validity to the nearest pixel."""
        grid = sampling_grid(self.warp, self.after)
        planes = torch.cat([view.images, rearrange(view.confidence, "b h w -> b 1 h w").to(view.images)], dim=1)
        planes = sample_smooth(grid, planes)
        # Shifted so that the zero outside means IGNORE, and not valid.
        marks = sample_nearest(grid, torch.stack([(view.labels - IGNORE).float(), view.valid.float()], dim=1))
        return View(planes[:, :3], marks[:, 0].long() + IGNORE, planes[:, 3].clamp(0, 1), marks[:, 1].bool())

    def maps(self, maps: Float[Tensor, "b c hs ws"]) -> Tensor:
        """Moves maps of the same images bilinearly, 0 outside: logits, probabilities, or features on a coarser grid."""
        pairs = zip(maps.shape[-2:], self.before, self.after, strict=True)
        height, width = (max(1, round(length * after / before)) for length, before, after in pairs)
        return sample_smooth(sampling_grid(self.warp, (height, width)), maps)


class GeometricStep(ABC):
    """A step that moves pixels."""

    @abstractmethod
    def change(self, placement: Placement) -> Placement:
        """Draws the step on top of what was drawn so far."""

    def __call__(self, view: View) -> View:
        return Geometry((self,))(view)


@dataclass(frozen=True)
class Geometry:
    """Geometric steps as one sampling.

    The same geometry for two versions of an image, and for a teacher's logits of it:

        shared = Geometry((Scale(0.5), Flip(0.5), Crop())).draw(view.images)
        clean, colored, logits = shared(view), shared(take(COLORS, view)), shared.maps(teacher_logits)
    """

    steps: tuple[GeometricStep, ...]

    def draw(self, images: Images) -> Placement:
        """A placement for each of the images."""
        height, width = images.shape[-2:]
        placement = Placement(no_warp(len(images), images.device), (height, width), (height, width))
        for step in self.steps:
            placement = step.change(placement)
        return placement

    def __call__(self, view: View) -> View:
        return self.draw(view.images)(view)


@dataclass(frozen=True)
class Scale(GeometricStep):
    """Resizes an image about its center; what grows beyond the view is cut off, what shrinks has a border."""

    probability: float = 1.0
    scale_range: tuple[float, float] = (0.75, 1.75)
    """The factor is drawn uniformly from it."""

    def change(self, placement: Placement) -> Placement:
        return placement._replace(warp=scaled(placement.warp, self.probability, self.scale_range))


@dataclass(frozen=True)
class Flip(GeometricStep):
    """Turns an image left for right."""

    probability: float = 0.5

    def change(self, placement: Placement) -> Placement:
        return placement._replace(warp=flipped(placement.warp, self.probability))


@dataclass(frozen=True)
class Crop(GeometricStep):
    """Takes a random part of the image; an image that is smaller than the view lies whole at a random place of it.

    The part is drawn from the whole image as scaled so far, so that of two crops in a row the last one decides. The
    place is not rounded to whole pixels.
    """

    size: Size | None = None
    """Of the view; that of the images if None, so that only an image that was scaled is moved."""

    def change(self, placement: Placement) -> Placement:
        if self.size is None or self.size == placement.after:
            return placement._replace(warp=placed(placement.warp))
        (height, width), (rows, columns), (x, y) = self.size, placement.after, placement.warp.factor.unbind(dim=1)
        factor = torch.stack([x * (width / columns), y * (height / rows)], dim=1)
        return Placement(placed(placement.warp._replace(factor=factor)), placement.before, self.size)
