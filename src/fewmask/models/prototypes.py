"""A network that is not trained: an encoder, and one mean feature per class, to which each cell is compared.

In the manner of INSID3 (CVPR 2026, visinf/INSID3), which segments one class of an image by reference images with
features of DINOv3; here there are several classes, and a cell belongs to the nearest of them.
"""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from fewmask.models.caffe_layout import CaffeLayout
from fewmask.models.deeplabv2 import layout_for
from fewmask.models.segnet import SegNet
from fewmask.ops.class_means import class_means
from fewmask.ops.unit import unit
from fewmask.shapes import Features, Float, Int64

_LEAST_SHARE = 1e-3
"""A direction whose singular value is below this share of the largest is rounding, and stays."""


def prototype_net(net: SegNet, removed_directions: int, cluster_similarity: float | None) -> SegNet:
    """A network of the encoder of `net`, which does not learn, with class prototypes in place of its decoder."""
    encoder = net.network.encoder.requires_grad_(False)
    width = encoder.out_channels[-1]
    decoder = PlainFeatures(width, min(removed_directions, width // 2), cluster_similarity)
    network = _Parts(encoder, decoder, ClassPrototypes(width, net.num_classes), layout_for(encoder, net.network))
    mean, std = (buffer.flatten().tolist() for buffer in (net.mean, net.std))
    return SegNet(network, net.num_classes, mean, std, batchnorm="frozen")


class PlainFeatures(nn.Module):
    """The encoder's last map at unit length, without the directions that an image without content has.

    Such directions code where a cell lies in the image. With `cluster_similarity`, each cell then takes the mean of the
    cells of its image whose encoder features have at least this cosine with its own. INSID3 instead clusters the cells
    of an image by average linkage up to this similarity, which is no static graph.
    """

    basis: Tensor

    def __init__(self, dim: int, num_directions: int, cluster_similarity: float | None) -> None:
        super().__init__()
        self.cluster_similarity = cluster_similarity
        self.register_buffer("basis", torch.zeros(dim, num_directions))

    def forward(self, maps: list[Tensor], tokens: list[Tensor | None] | None = None) -> Features:
        height, width = maps[-1].shape[-2:]
        with torch.autocast(maps[-1].device.type, enabled=False):
            cells = unit(rearrange(maps[-1], "b d h w -> b (h w) d"))
            plain = unit(cells - cells @ self.basis @ self.basis.T)
            if self.cluster_similarity is not None:
                alike = (cells @ cells.mT >= self.cluster_similarity).to(cells)
                plain = unit(alike @ plain)
        return rearrange(plain, "b (h w) d -> b d h w", h=height, w=width)

    @torch.no_grad()
    def remove(self, blank: Features) -> None:
        """Removes the strongest directions of the map of an image without content."""
        cells = unit(rearrange(blank, "b d h w -> (b h w) d"))
        directions, strengths, _ = torch.linalg.svd((cells - cells.mean(dim=0)).T, full_matrices=False)
        most = min(self.basis.shape[1], directions.shape[1])
        found = strengths[:most] > _LEAST_SHARE * strengths[0]
        self.basis.zero_()
        self.basis[:, :most] = directions[:, :most] * found


class ClassPrototypes(nn.Module):
    """Compares cells with the mean feature of every class: logits are cosines times a scale, which alone is trained.

    The scale changes how sure a prediction is, and never which class it is.
    """

    sums: Tensor

    def __init__(self, dim: int, num_classes: int, scale: float = 10.0) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(num_classes, dim))
        self.compare = nn.Conv2d(dim, num_classes, 1, bias=False).requires_grad_(False)
        self.compare.weight.zero_()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, features: Features) -> Float[Tensor, "b k hs ws"]:
        """Logits of features of unit length; 0 for a class that was not seen yet."""
        with torch.autocast(features.device.type, enabled=False):
            return self.compare(features.float()) * self.log_scale.exp()  # type: ignore[no-any-return]

    @torch.no_grad()
    def observe(self, features: Features, labels: Int64[Tensor, "b hs ws"]) -> Float[Tensor, "k d"]:
        """The sum over the images of the mean feature of each class that an image has."""
        means, has_class = class_means(features, labels, len(self.sums))
        return (means * has_class[:, :, None]).sum(dim=0)

    @torch.no_grad()
    def add(self, sums: Float[Tensor, "k d"]) -> None:
        """Adds what was observed; every image counts the same, as every reference image does in INSID3."""
        self.sums.add_(sums)
        self.compare.weight.copy_(unit(self.sums)[:, :, None, None])


class _Parts(nn.Module):
    """The three parts of a network of segmentation_models_pytorch's shape."""

    def __init__(
        self, encoder: Any, decoder: nn.Module, segmentation_head: nn.Module, layout: CaffeLayout | None
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.segmentation_head = encoder, decoder, segmentation_head
        self.layout = layout
