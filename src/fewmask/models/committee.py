"""Several networks that predict together: the mean of their class probabilities.

Lakshminarayanan, Pritzel and Blundell, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles,
NeurIPS 2017, https://arxiv.org/abs/1612.01474.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fewmask.models.grid import at_size, pad
from fewmask.models.segnet import SegNet
from fewmask.shapes import Float, Images, Logits


class CommitteeOutput(NamedTuple):
    """The logarithm of the mean of the members' probabilities, at the size of the images."""

    logits: Logits


class Committee(nn.Module):
    """What prediction asks of a `SegNet`, from several of them. Their classes are the same.

    Networks on one grid are averaged there, and the mean is upsampled once. Others are averaged pixel by pixel.

    Attributes:
        members: the networks.
        stride: the least common multiple of their strides.
    """

    def __init__(self, members: Sequence[SegNet]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._nets = list(members)
        self.num_classes = members[0].num_classes
        self.stride = math.lcm(*(net.stride for net in members))

    @property
    def mean(self) -> Tensor:
        """The first member's, which tells the device."""
        return self._nets[0].mean

    def forward(self, images: Images) -> CommitteeOutput:
        height, width = images.shape[-2:]
        return CommitteeOutput(at_size(self.cells(images), (height, width), self.stride))

    def cells(self, images: Images) -> Float[Tensor, "b k hs ws"]:
        """The logarithm of the mean on the members' grid, or, if they have several, on the pixels of padded images."""
        maps = [net.cells(images) for net in self._nets]
        if len({(net.stride, found.shape) for net, found in zip(self._nets, maps, strict=True)}) == 1:
            return _log_mean(maps)
        height, width = images.shape[-2:]
        fine = [net.at_size(found, (height, width)) for net, found in zip(self._nets, maps, strict=True)]
        return pad(_log_mean(fine), self.stride, fill=0.0)


def _log_mean(maps: list[Tensor]) -> Tensor:
    """The logarithm of the mean probability, of logits [b k h w]; always float32."""
    each = torch.stack([found.float().log_softmax(dim=1) for found in maps])
    return each.logsumexp(dim=0) - math.log(len(maps))
