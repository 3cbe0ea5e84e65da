"""A part of one image pasted into its neighbor in the batch: some of its classes (ClassMix), or a box (CutMix).

Olsson et al., ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning, WACV 2021,
https://arxiv.org/abs/2007.07936.
French et al., Semi-supervised semantic segmentation needs strong, varied perturbations, BMVC 2020,
https://arxiv.org/abs/1906.01916.
"""

import torch
from einops import rearrange
from jaxtyping import Shaped
from torch import Tensor

from fewmask.shapes import Bool, Confidence, Float, Images, Labels


def draw_class_mask(labels: Labels, num_classes: int, probability: float) -> Bool[Tensor, "b h w"]:
    """Per image, with `probability`, the pixels of floor(n/2) random ones of its n classes; nothing otherwise.

    The released code of Alonso et al. takes floor(n/2) + 1 (docs/differences.md: 23); the ClassMix paper, half.
    """
    num_images, device = len(labels), labels.device
    flat = rearrange(labels, "b h w -> b (h w)").clamp(max=num_classes)  # IGNORE is one more class, never chosen
    present = torch.zeros(num_images, num_classes + 1, dtype=torch.bool, device=device)
    present = present.scatter_(1, flat, True)[:, :num_classes]
    lottery = torch.rand(num_images, num_classes, device=device).masked_fill(~present, -1.0)
    rank = lottery.argsort(dim=1, descending=True).argsort(dim=1)
    chosen = rank < present.sum(dim=1, keepdim=True) // 2
    chosen &= torch.rand(num_images, 1, device=device) < probability
    chosen = torch.cat([chosen, torch.zeros_like(chosen[:, :1])], dim=1)
    return chosen.gather(1, flat).view_as(labels)


def draw_box_mask(
    num_images: int, size: tuple[int, int], device: torch.device, area_range: tuple[float, float]
) -> Bool[Tensor, "b h w"]:
    """Per image one box that covers U[area_range] of it, but for rounding, at a random place inside; True in the box.

    Its height is area^u of the image's with u in U[0, 1], and so log-uniform between that share and 1: the generator
    of the released code of French et al. `size` is (height, width) in pixels, areas are shares in [0, 1].
    """
    low, high = area_range
    area = low + (high - low) * torch.rand(num_images, device=device)
    part = torch.rand(num_images, device=device)
    rows, columns = _draw_spans(size[0], area**part), _draw_spans(size[1], area ** (1 - part))
    return rearrange(rows, "b h -> b h 1") & rearrange(columns, "b w -> b 1 w")


def paste(mask: Bool[Tensor, "b h w"], *maps: Shaped[Tensor, "b ... h w"]) -> tuple[Tensor, ...]:
    """Image i + 1 receives what the mask of image i shows of it, in each of the maps; the first from the last."""
    mask = mask.roll(1, dims=0)
    masks = (mask if each.dim() == 3 else rearrange(mask, "b h w -> b 1 h w") for each in maps)
    return tuple(torch.where(part, each.roll(1, dims=0), each) for part, each in zip(masks, maps, strict=True))


def paste_classes(
    images: Images, labels: Labels, confidence: Confidence, num_classes: int, probability: float
) -> tuple[Images, Labels, Confidence]:
    """Image i + 1 receives the chosen classes of image i, labels and confidence with them; the first from the last."""
    mask = draw_class_mask(labels, num_classes, probability)
    images, labels, confidence = paste(mask, images, labels, confidence)
    return images, labels, confidence


def _draw_spans(length: int, shares: Float[Tensor, " b"]) -> Bool[Tensor, "b n"]:
    """Per image a span of round(share * length) of the n = length pixels of an axis, at a random place."""
    sizes = (shares * length).round()
    starts = ((length - sizes) * torch.rand_like(sizes)).round()
    pixels = torch.arange(length, device=shares.device)
    return (pixels >= starts[:, None]) & (pixels < (starts + sizes)[:, None])
