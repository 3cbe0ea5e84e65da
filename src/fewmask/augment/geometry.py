"""Steps that move pixels (scale, flip, crop): several in a row are one sampling, which can move other maps too."""

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
    """Size of the images that the placement was drawn for."""
    after: Size
    """Size of the view."""

    def __call__(self, view: View) -> View:
        """Moves images and confidence bilinearly, labels and validity to the nearest pixel."""
        grid = sampling_grid(self.warp, self.after)
        planes = torch.cat([view.images, rearrange(view.confidence, "b h w -> b 1 h w").to(view.images)], dim=1)
        planes = sample_smooth(grid, planes)
        # Labels are shifted by IGNORE, so that the zeros outside an image mean IGNORE, and not valid.
        marks = sample_nearest(grid, torch.stack([(view.labels - IGNORE).float(), view.valid.float()], dim=1))
        return View(planes[:, :3], marks[:, 0].long() + IGNORE, planes[:, 3].clamp(0, 1), marks[:, 1].bool())

    def maps(self, maps: Float[Tensor, "b c hs ws"]) -> Tensor:
        """Moves logits, probabilities or coarser features of the same images bilinearly, with 0 outside."""
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
    """Several geometric steps as one sampling.

    This example moves two versions of an image and a teacher's logits by the same geometry:

        shared = Geometry((Scale(0.5), Flip(0.5), Crop())).draw(view.images)
        clean, colored, logits = shared(view), shared(take(COLORS, view)), shared.maps(teacher_logits)
    """

    steps: tuple[GeometricStep, ...]

    def draw(self, images: Images) -> Placement:
        """Draws a placement for each of the images."""
        height, width = images.shape[-2:]
        placement = Placement(no_warp(len(images), images.device), (height, width), (height, width))
        for step in self.steps:
            placement = step.change(placement)
        return placement

    def __call__(self, view: View) -> View:
        return self.draw(view.images)(view)


@dataclass(frozen=True)
class Scale(GeometricStep):
    """Resizes an image about its center. A larger image is cut to the view, a smaller image gets a border."""

    probability: float = 1.0
    scale_range: tuple[float, float] = (0.75, 1.75)
    """Range of the scale factor, drawn uniformly."""

    def change(self, placement: Placement) -> Placement:
        return placement._replace(warp=scaled(placement.warp, self.probability, self.scale_range))


@dataclass(frozen=True)
class Flip(GeometricStep):
    """Flips an image left to right."""

    probability: float = 0.5

    def change(self, placement: Placement) -> Placement:
        return placement._replace(warp=flipped(placement.warp, self.probability))


@dataclass(frozen=True)
class Crop(GeometricStep):
    """Cuts a random part out of the image, or puts an image that is smaller than the view at a random place in it.

    The part is drawn from the whole image as scaled so far, so the last of two crops in a row decides. Its place is
    not rounded to whole pixels.
    """

    size: Size | None = None
    """Size of the view. None keeps the size of the images, and then only images that were scaled are moved."""
    centered: bool = False
    """Whether an image that is smaller than the view lies in its center."""

    def change(self, placement: Placement) -> Placement:
        if self.size is None or self.size == placement.after:
            return placement._replace(warp=placed(placement.warp, self.centered))
        (height, width), (rows, columns), (x, y) = self.size, placement.after, placement.warp.factor.unbind(dim=1)
        factor = torch.stack([x * (width / columns), y * (height / rows)], dim=1)
        warp = placed(placement.warp._replace(factor=factor), self.centered)
        return Placement(warp, placement.before, self.size)
