"""Steps that change colors and leave every pixel in its place: jitter, gray, blur, or a random choice of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange

from fewmask.augment.view import View
from fewmask.ops.color import JitterStrength, additive_jitter, blur, grayscale, jitter
from fewmask.shapes import Images


class ColorStep(ABC):
    """A step that leaves labels, confidence and validity as they are."""

    @abstractmethod
    def change(self, images: Images) -> Images:
        """The images with changed colors."""

    def __call__(self, view: View) -> View:
        return view._replace(images=self.change(view.images))


@dataclass(frozen=True)
class Jitter(ColorStep):
    """Changes brightness, contrast, saturation and hue, in this order."""

    probability: float = 0.8
    brightness: float = 0.5
    """Brightness is multiplied by 1 - this to 1 + this. Contrast and saturation change in the same way."""
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.25
    """The hue turns by up to this share of the circle."""

    def change(self, images: Images) -> Images:
        return jitter(images, self.probability, self.strength)

    @property
    def strength(self) -> JitterStrength:
        """The four strengths together."""
        return JitterStrength(self.brightness, self.contrast, self.saturation, self.hue)


@dataclass(frozen=True)
class AdditiveJitter(Jitter):
    """As `Jitter` with kornia 0.4.1: brightness is added, saturation changes in HSV, and a batch draws the order."""

    def change(self, images: Images) -> Images:
        return additive_jitter(images, self.probability, self.strength)


@dataclass(frozen=True)
class Gray(ColorStep):
    """Makes an image gray."""

    probability: float = 0.2

    def change(self, images: Images) -> Images:
        return grayscale(images, self.probability)


@dataclass(frozen=True)
class Blur(ColorStep):
    """Blurs an image with a Gaussian."""

    probability: float = 0.5
    sigma_range: tuple[float, float] = (0.1, 2.0)
    """Range of the Gaussian's sigma, in pixels."""

    def change(self, images: Images) -> Images:
        return blur(images, self.probability, self.sigma_range)


@dataclass(frozen=True)
class SomeOf(ColorStep):
    """Applies a random number of the listed color steps to each image, in the listed order."""

    steps: Sequence[ColorStep]
    fewest: int = 0
    most: int = 3

    def change(self, images: Images) -> Images:
        num_images, num_steps, device = len(images), len(self.steps), images.device
        rank = torch.rand(num_images, num_steps, device=device).argsort(dim=1)
        chosen = rank < torch.randint(self.fewest, self.most + 1, (num_images, 1), device=device)
        for step, takes_part in zip(self.steps, chosen.unbind(dim=1), strict=True):
            images = torch.where(rearrange(takes_part, "b -> b 1 1 1"), step.change(images), images)
        return images
