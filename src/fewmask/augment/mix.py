"""Steps that paste a part of another image: some of its classes, a box of it, or copies of rare classes.

The partner of an image is its neighbor in the batch, which has taken the same steps so far, or the image at the same
place of another view: another batch, another view of this batch, or labeled images.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from fewmask.augment.view import View, in_turn
from fewmask.errors import UserError
from fewmask.ops.mix import Mask, cover, draw_box_mask, draw_class_mask, draw_copy_mask, draw_shaped_box_mask
from fewmask.shapes import Float, PerClass

Mixing = TypeVar("Mixing", bound="MixingStep")


class Pasting(NamedTuple):
    """What every image of a batch receives, drawn for each of them."""

    mask: Mask
    """True where a pixel comes from the partner."""
    partner: View | None
    """None: the neighbor in the batch, as in `View.neighbors`."""

    def __call__(self, view: View) -> View:
        """Pastes the image of the partner with labels, confidence and validity."""
        partner = view.neighbors() if self.partner is None else self.partner
        return View(*(cover(self.mask, given, maps) for given, maps in zip(partner, view, strict=True)))

    def maps(
        self, maps: Float[Tensor, "b c h w"], of_partner: Float[Tensor, "n c h w"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Pastes other maps of the same images, such as logits; a partner that is another view has maps of its own."""
        assert (of_partner is None) == (self.partner is None), "maps of the partner belong to a partner"
        given = maps.roll(1, dims=0) if of_partner is None else in_turn(of_partner, len(maps))
        return cover(self.mask, given, maps)


@dataclass(frozen=True)
class MixingStep(ABC):
    """A step that pastes; each image receives from one partner and keeps the rest of itself."""

    partner: View | None = field(default=None, kw_only=True, compare=False, repr=False)
    """None: the neighbor in the batch. Of a view with another number of images, the images are taken in turn."""

    def of(self: Mixing, partner: View) -> Mixing:
        """The same step with another partner: a list of steps says how to mix, and a method with what."""
        return replace(self, partner=partner)

    def draw(self, view: View) -> Pasting:
        """What each image of the view will receive.

        Raises:
            UserError: the partner's images have another size.
        """
        if self.partner is None:
            return Pasting(self.draw_mask(view).roll(1, dims=0), None)
        partner = self.partner.repeated(len(view.images))
        (height, width), (own_height, own_width) = partner.images.shape[-2:], view.images.shape[-2:]
        if (height, width) != (own_height, own_width):
            raise UserError(
                f"images of {own_width} x {own_height} pixels are mixed with images of {width} x {height}",
                "data.crop",
                "Set one that both kinds of images are cropped to.",
            )
        return Pasting(self.draw_mask(partner), partner)

    def __call__(self, view: View) -> View:
        return self.draw(view)(view)

    @abstractmethod
    def draw_mask(self, giver: View) -> Mask:
        """What each image of the giver gives away."""


@dataclass(frozen=True)
class ClassMix(MixingStep):
    """Pastes half of the classes that the partner's labels or pseudo-labels have (Olsson et al., WACV 2021)."""

    num_classes: int
    probability: float = 1.0

    def draw_mask(self, giver: View) -> Mask:
        return draw_class_mask(giver.labels, self.num_classes, self.probability)


@dataclass(frozen=True)
class CutMix(MixingStep):
    """Pastes one box of the partner (Yun et al., ICCV 2019; for segmentation French et al., BMVC 2020)."""

    probability: float = 1.0
    area_range: tuple[float, float] = (0.5, 0.5)
    """The share of the image that the box covers is drawn uniformly from it."""
    ratio_range: tuple[float, float] | None = None
    """Height by width of the box in pixels, drawn uniformly; None: a height that is log-uniform between the share and
    the whole, as French et al. have it. UniMatch has areas of (0.02, 0.4) and ratios of (0.3, 3.33)."""

    def draw_mask(self, giver: View) -> Mask:
        num_images, device = len(giver.images), giver.images.device
        height, width = giver.images.shape[-2:]
        box = (
            draw_box_mask(num_images, (height, width), device, self.area_range)
            if self.ratio_range is None
            else draw_shaped_box_mask(num_images, (height, width), device, self.area_range, self.ratio_range)
        )
        if self.probability == 1:
            return box
        return box & (torch.rand(num_images, 1, 1, device=device) < self.probability)


@dataclass(frozen=True)
class CopyClasses(MixingStep):
    """Pastes classes of the partner, each with a probability of its own: copies of rare labeled classes into any image.

    The partner is a labeled view, and a class that has few labels is given a high probability, as in the adaptive
    copy-paste of Hu et al., NeurIPS 2021. `ClassFrequency.weights()`, divided by their largest, are such probabilities.
    """

    probabilities: PerClass = field(compare=False)
    """In [0, 1], on the device of the images; a tensor, so that they may follow the training."""

    def draw_mask(self, giver: View) -> Mask:
        return draw_copy_mask(giver.labels, self.probabilities)
