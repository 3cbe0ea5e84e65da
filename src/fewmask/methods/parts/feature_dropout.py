"""Dropout of whole channels between encoder and decoder: independent, or complementary in two views.

Yang et al., Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic Segmentation (UniMatch), CVPR 2023,
https://arxiv.org/abs/2208.09910; Yang et al., UniMatch V2, TPAMI 2025, https://arxiv.org/abs/2410.10777.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.models.encoded import Encoded


def with_dropped(encoded: Encoded, probability: float) -> Encoded:
    """The maps as they are, and then, as further images of one batch, the maps with channels dropped.

    Each channel of each map is 0 with `probability`; other channels are divided by 1 - probability.
    """
    return Encoded.joined([encoded, encoded.changed(lambda maps: F.dropout2d(maps, probability))])


def dropped_apart(encoded: Encoded) -> Encoded:
    """Drops complementary halves of the channels of two views.

    Args:
        encoded: the maps of two views of the same images: the first half of the batch holds the first view.

    Returns:
        Maps in which a channel is doubled in one view and 0 in the other, drawn per image. Half of the images, rounded
        down, keep all of their channels. Levels of the same width, as those of a vision transformer, share a draw.
    """
    first = encoded.maps[-1]
    num_images, device = len(first) // 2, first.device
    whole = torch.rand(num_images, device=device).argsort() < num_images // 2
    factors: dict[int, Tensor] = {}

    def change(maps: Tensor) -> Tensor:
        width = maps.shape[1]
        if width not in factors:
            drawn = 2.0 * torch.randint(0, 2, (num_images, width), device=device)
            drawn = torch.where(whole[:, None], 1.0, drawn)
            factors[width] = torch.cat([drawn, 2 - drawn])[:, :, None, None]
        return maps * factors[width].to(maps.dtype)

    return encoded.changed(change)
