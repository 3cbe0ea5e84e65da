"""Discriminators of class maps, of images with class maps, and of class vectors; and a pass that trains none of them.

Layers of MapDiscriminator: Hung et al., Adversarial Learning for Semi-Supervised Semantic Segmentation, BMVC 2018,
https://arxiv.org/abs/1802.07934.
Layers of ImageDiscriminator: Mittal et al., Semi-Supervised Semantic Segmentation with High- and Low-level Consistency,
TPAMI 2021, https://arxiv.org/abs/1908.05724.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from fewmask.shapes import Images, Labels, Valid

PATCH = 32
"""Pixels between two scores of a map, after five convolutions of stride 2."""

_TINY = 1e-6


class MapDiscriminator(nn.Module):
    """Five 4x4 convolutions of stride 2 over class probabilities, LeakyReLU(0.2) between them, no normalization."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        widths, layers = (num_classes, 64, 128, 256, 512, 1), list[nn.Module]()
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b hp wp"]:
        """A logit per patch of 32 x 32 pixels; a smaller map is padded with zeros to one patch."""
        return self.layers(_filled_up(maps, PATCH)).squeeze(1)  # type: ignore[no-any-return]

    @staticmethod
    def in_image(valid: Valid) -> Bool[Tensor, "b hp wp"]:
        """Whether the center of each patch that `forward` scores lies in the image."""
        rows, columns = (_centers(length, valid.device) for length in valid.shape[-2:])
        return valid[:, rows[:, None], columns]


class Verdict(NamedTuple):
    """A logit per image that its class map is true, and the features from which the logit is computed."""

    logits: Float[Tensor, " b"]
    features: Float[Tensor, "b d"]


class ImageDiscriminator(nn.Module):
    """Four 4x4 convolutions of stride 2 over class maps and image, LeakyReLU(0.2), dropout; the mean is one score."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        widths, layers = (num_classes + 3, 64, 128, 256, 512), list[nn.Module]()
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            layers += [nn.Dropout2d(0.5)]
        self.layers = nn.Sequential(*layers[:-1])
        self.classify = nn.Linear(512, 1)

    def forward(self, maps: Float[Tensor, "b k h w"], images: Images) -> Verdict:
        """Stretches images to [0, 1] by the extremes of their batch; pads small ones with zeros to 16 pixels a side."""
        lowest, highest = images.aminmax()
        stretched = (images - lowest) / (highest - lowest).clamp(min=_TINY)
        features = self.layers(_filled_up(torch.cat([maps, stretched], dim=1), 16)).mean(dim=(2, 3))
        return Verdict(self.classify(features).squeeze(1), features)


class ClassVectorDiscriminator(nn.Module):
    """An MLP with two hidden layers over one vector per class and a one-hot code of the class."""

    def __init__(self, num_classes: int, dim: int, hidden_dim: int = 1024) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim + num_classes, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, 1),
        )

    def forward(self, vectors: Float[Tensor, "b k d"]) -> Float[Tensor, "b k"]:
        """A logit for every vector of every class."""
        num_images, num_classes, _ = vectors.shape
        codes = torch.eye(num_classes, device=vectors.device, dtype=vectors.dtype).expand(num_images, -1, -1)
        return self.layers(torch.cat([vectors, codes], dim=2)).squeeze(2)  # type: ignore[no-any-return]


def label_maps(labels: Labels, num_classes: int) -> Float[Tensor, "b k h w"]:
    """One-hot class maps of labels; all 0 where a label is IGNORE."""
    classes = torch.arange(num_classes, device=labels.device)
    return (labels[:, None] == classes[:, None, None]).float()


def held_constant(module: nn.Module, *inputs: Tensor) -> Any:
    """The output of `module` for the inputs; gradients reach the inputs and not the parameters.

    The pass leaves the running statistics of BatchNorm as they are. In train mode, BatchNorm normalizes by the batch.
    """
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    return functional_call(module, parameters | buffers, inputs)


def _filled_up(maps: Tensor, least: int) -> Tensor:
    """Pads maps with zeros below and to the right, to at least `least` pixels a side."""
    height, width = maps.shape[-2:]
    return F.pad(maps, (0, max(0, least - width), 0, max(0, least - height)))


def _centers(length: int, device: torch.device) -> Tensor:
    count = max(length, PATCH) // PATCH
    return (2 * torch.arange(count, device=device) + 1) * length // (2 * count)
