"""Color steps of the kind that RandAugment and AugSeg draw from; each changes every image unless it is told otherwise.

Zhao et al., Augmentation Matters: A Simple-yet-Effective Approach to Semi-supervised Semantic Segmentation (AugSeg),
CVPR 2023, https://arxiv.org/abs/2212.04976. Default ranges are those of its released code.
"""

from dataclasses import dataclass

from fewmask.augment.color import ColorStep
from fewmask.ops.tone import Property, autocontrast, enhance, equalize, posterize, solarize
from fewmask.shapes import Images


@dataclass(frozen=True)
class Enhance(ColorStep):
    """Less of a property where the factor is below 1, more where it is above."""

    of: Property
    probability: float = 1.0
    factor_range: tuple[float, float] = (0.05, 0.95)

    def change(self, images: Images) -> Images:
        return enhance(images, self.of, self.probability, self.factor_range)


@dataclass(frozen=True)
class Autocontrast(ColorStep):
    """Every channel from black to full."""

    probability: float = 1.0

    def change(self, images: Images) -> Images:
        return autocontrast(images, self.probability)


@dataclass(frozen=True)
class Equalize(ColorStep):
    """Every level of a channel as often as every other."""

    probability: float = 1.0

    def change(self, images: Images) -> Images:
        return equalize(images, self.probability)


@dataclass(frozen=True)
class Solarize(ColorStep):
    """The negative of bright levels."""

    probability: float = 1.0
    threshold_range: tuple[float, float] = (0.0, 1.0)

    def change(self, images: Images) -> Images:
        return solarize(images, self.probability, self.threshold_range)


@dataclass(frozen=True)
class Posterize(ColorStep):
    """Fewer levels."""

    probability: float = 1.0
    bits_range: tuple[int, int] = (4, 8)

    def change(self, images: Images) -> Images:
        return posterize(images, self.probability, self.bits_range)
