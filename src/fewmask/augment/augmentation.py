"""The settings of a weak or a strong view, and the list of steps that they make (Table 1).

Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank, ICCV 2021. The order (mix, geometry, color, blur) is the released code's; the paper gives none.
"""

from typing import Annotated

from pydantic import Field

from fewmask.augment.color import Blur, ColorStep, Gray, Jitter
from fewmask.augment.geometry import Crop, Flip, Scale
from fewmask.augment.mix import ClassMix
from fewmask.augment.steps import Step
from fewmask.settings import Settings

Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0, le=1)]


class Augmentation(Settings):
    """How a view is made; the defaults are the paper's weak set-up for labeled images."""

    flip_probability: Probability = 0.5
    """Probability that an image is flipped left to right."""
    scale_probability: Probability = 0.5
    """Probability that an image is scaled."""
    scale_range: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.75, 1.75)
    """Range of the scale factor. A factor above 1 cuts off the borders, a factor below 1 pads them."""
    jitter_probability: Probability = 0.2
    """Probability that brightness, contrast, saturation and hue of an image are jittered."""
    brightness: Strength = 0.15
    """Jitter multiplies brightness by a factor from 1 - this to 1 + this."""
    contrast: Strength = 0.15
    """Jitter multiplies contrast by a factor from 1 - this to 1 + this."""
    saturation: Strength = 0.075
    """Jitter multiplies saturation by a factor from 1 - this to 1 + this."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Jitter turns the hue by up to this share of the circle."""
    grayscale_probability: Probability = 0.0
    """Probability that an image is made gray."""
    blur_probability: Probability = 0.0
    """Probability that an image is blurred."""
    blur_sigma: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.1, 1.5)
    """Range of the blur's sigma, in pixels."""
    classmix_probability: Probability = 0.2
    """Probability that half of the classes of another image of the batch are pasted over an image."""

    def steps(self, num_classes: int) -> list[Step]:
        """The steps of the view. Labels are 0 to num_classes - 1; ClassMix pastes from the neighbor in the batch."""
        return [
            ClassMix(num_classes, self.classmix_probability),
            Scale(self.scale_probability, self.scale_range),
            Flip(self.flip_probability),
            Crop(),
            *self.colors(),
        ]

    def colors(self) -> list[ColorStep]:
        """The steps of the view that leave every pixel in its place."""
        return [
            Jitter(self.jitter_probability, self.brightness, self.contrast, self.saturation, self.hue),
            Gray(self.grayscale_probability),
            Blur(self.blur_probability, self.blur_sigma),
        ]


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
