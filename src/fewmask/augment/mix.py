"""Steps that paste a part of another image: some of its classes, a box of it, or copies of rare classes.

The partner of an image is either its neighbor in the batch, which has taken the same steps so far, or the image at the
same place of another view: a view of another batch, of this batch, or of labeled images.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from fewmask.augment.view import View, in_turn
from fewmask.errors import UserError
from fewmask.ops.mix import (
    Mask,
    cover,
    draw_beta,
    draw_box_mask,
    draw_class_mask,
    draw_copy_mask,
    draw_even_box_mask,
    draw_shaped_box_mask,
)
from fewmask.shapes import Float, PerClass

Mixing = TypeVar("Mixing", bound="MixingStep")


class Pasting(NamedTuple):
    """What every image of a batch receives from its partner, drawn for each image."""

    mask: Mask
    """True where a pixel comes from the partner."""
    partner: View | None
    """The view to paste from; None: the neighbor in the batch, as in `View.neighbors`."""

    def __call__(self, view: View) -> View:
        """Pastes the partner's image together with its labels, confidence and validity."""
        partner = view.neighbors() if self.partner is None else self.partner
        return View(*(cover(self.mask, given, maps) for given, maps in zip(partner, view, strict=True)))

    def maps(
        self, maps: Float[Tensor, "b c h w"], of_partner: Float[Tensor, "n c h w"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Pastes other maps of the same images, such as logits. A partner that is another view has its own maps."""
        assert (of_partner is None) == (self.partner is None), "maps of the partner belong to a partner"
        given = maps.roll(1, dims=0) if of_partner is None else in_turn(of_partner, len(maps))
        return cover(self.mask, given, maps)


@dataclass(frozen=True)
class MixingStep(ABC):
    """A step that pastes: each image receives a part of its partner and keeps its other pixels."""

    partner: View | None = field(default=None, kw_only=True, compare=False, repr=False)
    """The view to paste from, its images in turn if their number differs; None: the neighbor in the batch."""

    def of(self: Mixing, partner: View) -> Mixing:
        """The same step with another partner, so that a list of steps says how to mix, and a method with what."""
        return replace(self, partner=partner)

    def draw(self, view: View) -> Pasting:
        """Draws what each image of the view will receive.

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
        """Draws which pixels each image of the giver gives away."""


@dataclass(frozen=True)
class ClassMix(MixingStep):
    """Pastes half of the classes in the partner's labels or pseudo-labels (Olsson et al., WACV 2021)."""

    num_classes: int
    probability: float = 1.0
    one_more: bool = False
    """Whether floor(n/2) + 1 of n classes are pasted."""
    spared: int | None = None
    """A class that is pasted only from images that have no other, such as the background."""
    once: bool = False
    """Whether the probability is drawn once for the batch, and not for each image."""

    def draw_mask(self, giver: View) -> Mask:
        return draw_class_mask(
            giver.labels,
            self.num_classes,
            self.probability,
            one_more=self.one_more,
            spared=self.spared,
            once=self.once,
        )


@dataclass(frozen=True)
class CutMix(MixingStep):
    """Pastes one box of the partner (Yun et al., ICCV 2019; for segmentation French et al., BMVC 2020)."""

    probability: float = 1.0
    area_range: tuple[float, float] = (0.5, 0.5)
    """Range of the share of the image that the box covers, drawn uniformly."""
    ratio_range: tuple[float, float] | None = None
    """Range of the box's height divided by its width, drawn uniformly. If None, the box's share of the height is drawn
    log-uniformly between its share of the area and 1, as in French et al. UniMatch has areas of (0.02, 0.4) and ratios
    of (0.3, 3.33)."""
    num_boxes: int = 1
    """Several boxes, each with its sides divided by the root of their number, are combined by exclusive or, as in CPS
    (Chen et al., CVPR 2021). Only boxes without a `ratio_range` can be several."""

    def draw_mask(self, giver: View) -> Mask:
        num_images, device = len(giver.images), giver.images.device
        height, width = giver.images.shape[-2:]
        box = (
            draw_box_mask(num_images, (height, width), device, self.area_range, self.num_boxes)
            if self.ratio_range is None
            else draw_shaped_box_mask(num_images, (height, width), device, self.area_range, self.ratio_range)
        )
        if self.probability == 1:
            return box
        return box & (torch.rand(num_images, 1, 1, device=device) < self.probability)


@dataclass(frozen=True)
class BetaCutMix(MixingStep):
    """Pastes one box of the partner, with the proportions of the image and a share 1 - Beta(alpha, beta) of its area.

    AugSeg (Zhao et al., CVPR 2023) pastes small labeled boxes so into images of which a teacher is unsure.
    """

    alpha: int
    beta: int
    probabilities: Float[Tensor, " b"] | None = field(default=None, compare=False)
    """Probability in [0, 1] that each image receives a box from a partner that is another view; None: 1."""

    def draw_mask(self, giver: View) -> Mask:
        num_images, device = len(giver.images), giver.images.device
        height, width = giver.images.shape[-2:]
        box = draw_even_box_mask((height, width), 1 - draw_beta(num_images, self.alpha, self.beta, device))
        if self.probabilities is None:
            return box
        return box & (torch.rand(num_images, device=device) < self.probabilities)[:, None, None]


@dataclass(frozen=True)
class CopyClasses(MixingStep):
    """Pastes classes of the partner, each with its own probability, to copy rare labeled classes into any image.

    The partner is a labeled view, and a class that has few labels is given a high probability, as in the adaptive
    copy-paste of Hu et al., NeurIPS 2021. `ClassFrequency.weights()`, divided by the largest weight, gives them.
    """

    probabilities: PerClass = field(compare=False)
    """Probabilities in [0, 1], as a tensor on the images' device, so that they may follow the training."""

    def draw_mask(self, giver: View) -> Mask:
        return draw_copy_mask(giver.labels, self.probabilities)
