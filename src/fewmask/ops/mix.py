"""ClassMix: the pixels of some classes of one image pasted into its neighbor in the batch.

Olsson et al., ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning, WACV 2021,
https://arxiv.org/abs/2007.07936.
"""

import torch
from einops import rearrange
from torch import Tensor

from fewmask.shapes import Bool, Confidence, Images, Labels


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


def paste_classes(
    images: Images, labels: Labels, confidence: Confidence, num_classes: int, probability: float
) -> tuple[Images, Labels, Confidence]:
    """Image i + 1 receives the chosen classes of image i, labels and confidence with them; the first from the last."""
    mask = draw_class_mask(labels, num_classes, probability)
    source_images, source_labels, source_confidence, mask = (
        maps.roll(1, dims=0) for maps in (images, labels, confidence, mask)
    )
    return (
        torch.where(rearrange(mask, "b h w -> b 1 h w"), source_images, images),
        torch.where(mask, source_labels, labels),
        torch.where(mask, source_confidence, confidence),
    )
