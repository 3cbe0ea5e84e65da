"""Caffe's layout of a ResNet, which weights for COCO need.

In this layout a block strides in its first 1x1 convolution, not in the 3x3 one, and the pooling rounds up: 512 pixels
give 65 cells. It changes no weight, so a state has to say it beside the tensors.
"""

from typing import Any

import torch
from torch import Tensor, nn


def has_caffe_layout(encoder: Any) -> bool:
    """Whether a ResNet was given Caffe's layout."""
    return bool(getattr(encoder, "caffe_layout", False))


def set_caffe_layout(encoder: Any, wanted: bool) -> None:
    """Gives a ResNet of timm with a stride of 8 Caffe's layout, or takes it away."""
    if wanted != has_caffe_layout(encoder):
        encoder.caffe_layout = encoder.model.maxpool.ceil_mode = wanted
        block = encoder.model.layer2[0]  # layer3 and layer4 do not stride
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride


class CaffeLayout(nn.Module):
    """Has no weights; its state says the layout of an encoder that is used without the network that would say it."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self._encoder = [encoder]  # in a list, it is no module of this one

    def get_extra_state(self) -> Tensor:
        return torch.tensor(has_caffe_layout(self._encoder[0]))

    def set_extra_state(self, state: Tensor) -> None:
        set_caffe_layout(self._encoder[0], bool(state))
