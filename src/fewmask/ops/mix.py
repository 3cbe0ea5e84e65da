"""Masks of the part that one image gives to another, classes (ClassMix, copy-paste) or a box (CutMix), and pasting.

Olsson et al., ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning, WACV 2021,
https://arxiv.org/abs/2007.07936.
French et al., Semi-supervised semantic segmentation needs strong, varied perturbations, BMVC 2020,
https://arxiv.org/abs/1906.01916.
Hu et al., Semi-Supervised Semantic Segmentation via Adaptive Equalization Learning, NeurIPS 2021,
https://arxiv.org/abs/2110.05474: copies of rare classes.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Shaped
from torch import Tensor

from fewmask.shapes import Bool, Float, Labels, PerClass

Mask = Bool[Tensor, "b h w"]


def draw_class_mask(
    labels: Labels,
    num_classes: int,
    probability: float,
    *,
    one_more: bool = False,
    spared: int | None = None,
    once: bool = False,
) -> Mask:
    """With `probability`, True at the pixels of floor(n/2) random classes of an image's n; otherwise all False.

    The ClassMix paper takes half of the classes. The keywords are what the released code of Alonso et al. does
    (docs/differences.md: 23, 43, 47).

    Args:
        labels: 0..num_classes-1; any other value is no class.
        num_classes: k.
        probability: the share of images that have a part to give.
        one_more: whether floor(n/2) + 1 classes are taken.
        spared: a class that does not count among the n of an image that has another one, and is not taken there.
        once: whether all images or none have a part to give.
    """
    num_images, device = len(labels), labels.device
    flat = rearrange(labels, "b h w -> b (h w)").clamp(max=num_classes)  # IGNORE is one more class, never chosen
    present = torch.zeros(num_images, num_classes + 1, dtype=torch.bool, device=device)
    present = present.scatter_(1, flat, True)[:, :num_classes]
    if spared is not None:
        present[:, spared] &= present.sum(dim=1) == 1
    lottery = torch.rand(num_images, num_classes, device=device).masked_fill(~present, -1.0)
    rank = lottery.argsort(dim=1, descending=True).argsort(dim=1)
    num_present = present.sum(dim=1, keepdim=True)
    chosen = rank < num_present // 2 + int(one_more)
    chosen &= torch.rand(1 if once else num_images, 1, device=device) < probability
    return _pixels_of(chosen, flat).view_as(labels)


def draw_copy_mask(labels: Labels, probabilities: PerClass) -> Mask:
    """True at the pixels of drawn classes; each class is drawn on its own, with its probability in [0, 1]."""
    flat = rearrange(labels, "b h w -> b (h w)").clamp(max=len(probabilities))
    chosen = torch.rand(len(labels), len(probabilities), device=labels.device) < probabilities
    return _pixels_of(chosen, flat).view_as(labels)


def draw_box_mask(
    num_images: int,
    size: tuple[int, int],
    device: torch.device,
    area_range: tuple[float, float],
    num_boxes: int = 1,
) -> Mask:
    """True in one box per image, at a random place inside, which covers the share U[area_range] up to rounding.

    The box's share of the height is area^u with u from U[0, 1], which is log-uniform between the area and 1, as in the
    released code of French et al. `size` is (height, width) in pixels; areas are shares in [0, 1].

    Of several boxes, each has its sides divided by the root of their number, and pixels in an even number of boxes are
    False.
    """
    side = num_boxes**-0.5

    def draw_one() -> Mask:
        area, part = _drawn_areas(num_images, device, area_range)
        return _box(_draw_spans(size[0], side * area**part), _draw_spans(size[1], side * area ** (1 - part)))

    mask = draw_one()
    for _ in range(num_boxes - 1):
        mask = mask ^ draw_one()
    return mask


def draw_shaped_box_mask(
    num_images: int,
    size: tuple[int, int],
    device: torch.device,
    area_range: tuple[float, float],
    ratio_range: tuple[float, float],
) -> Mask:
    """As `draw_box_mask`, for a box whose height is U[ratio_range] times its width, as in UniMatch's released code.

    A side that would be longer than the image is cut to the image. The released code instead draws again until a box
    fits, which would need a host sync.
    """
    (low, high), (area, part) = ratio_range, _drawn_areas(num_images, device, area_range)
    ratio = low + (high - low) * part
    pixels = area * math.prod(size)
    rows = _draw_spans(size[0], ((pixels * ratio).sqrt() / size[0]).clamp(max=1))
    columns = _draw_spans(size[1], ((pixels / ratio).sqrt() / size[1]).clamp(max=1))
    return _box(rows, columns)


def draw_even_box_mask(size: tuple[int, int], areas: Float[Tensor, " b"]) -> Mask:
    """As `draw_box_mask`, for boxes with the proportions of the image, which cover the given shares of it."""
    side = areas.sqrt()
    return _box(_draw_spans(size[0], side), _draw_spans(size[1], side))


def draw_beta(num: int, alpha: int, beta: int, device: torch.device) -> Float[Tensor, " b"]:
    """`num` draws from Beta(alpha, beta) for whole numbers: the alpha-th smallest of alpha + beta - 1 uniform draws."""
    return torch.rand(num, alpha + beta - 1, device=device).sort(dim=1).values[:, alpha - 1]


def cover(
    mask: Mask, given: Shaped[Tensor, "b *c h w"], maps: Shaped[Tensor, "b *c h w"]
) -> Shaped[Tensor, "b *c h w"]:
    """The maps, replaced by the given maps where the mask is True; in the type of the maps."""
    return torch.where(mask if maps.dim() == 3 else rearrange(mask, "b h w -> b 1 h w"), given.to(maps.dtype), maps)


def paste(mask: Mask, *maps: Shaped[Tensor, "b ... h w"]) -> tuple[Tensor, ...]:
    """In each of the maps, image i + 1 receives the masked part of image i; the first image receives from the last."""
    mask = mask.roll(1, dims=0)
    return tuple(cover(mask, each.roll(1, dims=0), each) for each in maps)


def _box(rows: Bool[Tensor, "b h"], columns: Bool[Tensor, "b w"]) -> Mask:
    return rearrange(rows, "b h -> b h 1") & rearrange(columns, "b w -> b 1 w")


def _pixels_of(chosen: Bool[Tensor, "b k"], flat: Shaped[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
    """Where the class of a pixel is chosen; class k, which stands for IGNORE, never is."""
    return torch.cat([chosen, torch.zeros_like(chosen[:, :1])], dim=1).gather(1, flat)


def _drawn_areas(
    num_images: int, device: torch.device, area_range: tuple[float, float]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Per image the share that a box covers, and a number in [0, 1] that sets its shape."""
    low, high = area_range
    area = low + (high - low) * torch.rand(num_images, device=device)
    return area, torch.rand(num_images, device=device)


def _draw_spans(length: int, shares: Float[Tensor, " b"]) -> Bool[Tensor, "b n"]:
    """True in one span per image, of round(share * length) of an axis' n = length pixels, at a random place."""
    sizes = (shares * length).round()
    starts = ((length - sizes) * torch.rand_like(sizes)).round()
    pixels = torch.arange(length, device=shares.device)
    return (pixels >= starts[:, None]) & (pixels < (starts + sizes)[:, None])
