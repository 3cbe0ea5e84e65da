"""A step that cuts a box out of every image, or everything but a box.

DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017,
https://arxiv.org/abs/1708.04552; for segmentation French et al., BMVC 2020, https://arxiv.org/abs/1906.01916.
"""

from dataclasses import dataclass

import torch

from fewmask.augment.view import View
from fewmask.ops.imagenet import IMAGENET_MEAN
from fewmask.ops.mix import draw_box_mask
from fewmask.shapes import IGNORE


@dataclass(frozen=True)
class Cutout:
    """Fills a box with one color. Its pixels get the label IGNORE and confidence 0, and are not valid."""

    probability: float = 1.0
    area_range: tuple[float, float] = (0.02, 0.4)
    """Range of the share of the image that the box covers, drawn uniformly."""
    keeps_box: bool = False
    """If True, everything outside the box is filled instead, as in French et al."""
    fill: tuple[float, float, float] = IMAGENET_MEAN
    """RGB in [0, 1]. The default is the mean color of ImageNet, which is zero after ImageNet's normalization."""

    def __call__(self, view: View) -> View:
        images = view.images
        height, width = images.shape[-2:]
        out = draw_box_mask(len(images), (height, width), images.device, self.area_range)
        if self.keeps_box:
            out = ~out
        if self.probability < 1:
            out = out & (torch.rand(len(images), 1, 1, device=images.device) < self.probability)
        channels = zip(images.unbind(dim=1), self.fill, strict=True)
        return View(
            torch.stack([channel.masked_fill(out, level) for channel, level in channels], dim=1),
            view.labels.masked_fill(out, IGNORE),
            view.confidence.masked_fill(out, 0),
            view.valid & ~out,
        )
