"""Color steps that RandAugment and AugSeg choose from; by default each step changes every image.

Zhao et al., Augmentation Matters: A Simple-yet-Effective Approach to Semi-supervised Semantic Segmentation (AugSeg),
CVPR 2023, https://arxiv.org/abs/2212.04976. The default ranges are those of AugSeg's code.
"""

from dataclasses import dataclass

from fewmask.augment.color import ColorStep
from fewmask.ops.tone import Property, autocontrast, enhance, equalize, posterize, solarize
from fewmask.shapes import Images


@dataclass(frozen=True)
class Enhance(ColorStep):
    """Changes a property: a factor below 1 gives less of it, a factor above 1 more."""

    of: Property
    probability: float = 1.0
    factor_range: tuple[float, float] = (0.05, 0.95)

    def change(self, images: Images) -> Images:
        return enhance(images, self.of, self.probability, self.factor_range)


@dataclass(frozen=True)
class Autocontrast(ColorStep):
    """Stretches every channel to the full range [0, 1]."""

    probability: float = 1.0

    def change(self, images: Images) -> Images:
        return autocontrast(images, self.probability)


@dataclass(frozen=True)
class Equalize(ColorStep):
    """Makes all levels of a channel equally frequent, as far as possible."""

    probability: float = 1.0

    def change(self, images: Images) -> Images:
        return equalize(images, self.probability)


@dataclass(frozen=True)
class Solarize(ColorStep):
    """Inverts the levels from a random threshold on."""

    probability: float = 1.0
    threshold_range: tuple[float, float] = (0.0, 1.0)

    def change(self, images: Images) -> Images:
        return solarize(images, self.probability, self.threshold_range)


@dataclass(frozen=True)
class Posterize(ColorStep):
    """Reduces the levels to a random number of bits, out of 8."""

    probability: float = 1.0
    bits_range: tuple[int, int] = (4, 8)

    def change(self, images: Images) -> Images:
        return posterize(images, self.probability, self.bits_range)
