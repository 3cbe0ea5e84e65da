"""DeepLabv2: a dilated ResNet at stride 8 and a classifier that sums dilated 3x3 convolutions.

Chen et al., DeepLab, TPAMI 2018, https://arxiv.org/abs/1606.00915; the network of Alonso et al., ICCV 2021, Table 2.
"""

from collections.abc import Mapping
from typing import Any

import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from fewmask.models.caffe_layout import CaffeLayout, has_caffe_layout, set_caffe_layout

RATES = (6, 12, 18, 24)


class DeepLabV2(nn.Module):
    """Encoder, decoder and head as segmentation_models_pytorch names them.

    With ResNet-101 and 19 classes, one 512 x 512 image costs 366.0 GFLOPs. Alonso et al. say 372.04, which is nearer to
    the 371.4 of their code: it has two branches, on a 65 x 65 grid because its pooling rounds up. See
    benchmarks/flops.py.

    Args:
        encoder_name: a name of segmentation_models_pytorch, for any encoder that can be dilated to a stride of 8.
        classes: channels of the logits.
        aspp_branches: number of dilated convolutions in the classifier, from the smallest rate up. The paper has four.
            The code of seven repositories, Alonso et al.'s among them, returns inside the loop that sums them, so that
            only two count.
        encoder_weights: as for segmentation_models_pytorch.
        encoder_options: further keywords of the encoder.
    """

    def __init__(
        self,
        encoder_name: str,
        classes: int,
        aspp_branches: int = 4,
        encoder_weights: str | None = None,
        **encoder_options: Any,
    ) -> None:
        super().__init__()
        self.encoder = get_encoder(encoder_name, weights=encoder_weights, output_stride=8, **encoder_options)
        dilate_whole_stages(self.encoder, {"layer3": 2, "layer4": 4})
        self.decoder = LastStage()
        self.segmentation_head = DilatedSum(self.encoder.out_channels[-1], classes, RATES[:aspp_branches])

    def get_extra_state(self) -> Tensor:
        return torch.tensor(has_caffe_layout(self.encoder))

    def set_extra_state(self, state: Tensor) -> None:
        set_caffe_layout(self.encoder, bool(state))


def layout_for(encoder: nn.Module, network: nn.Module) -> CaffeLayout | None:
    """What keeps the layout of an encoder that leaves this network, or of a copy; None if it has only one layout."""
    return CaffeLayout(encoder) if isinstance(network, DeepLabV2) else None


class LastStage(nn.Module):
    """Stands in for a decoder: the features are the encoder's last stage (2048 channels for ResNet-50 and deeper)."""

    def forward(self, features: list[Tensor]) -> Tensor:
        return features[-1]


class DilatedSum(nn.Module):
    """The sum of one dilated 3x3 convolution per rate; there is no normalization and no pooling."""

    def __init__(self, in_channels: int, out_channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        branches = [nn.Conv2d(in_channels, out_channels, 3, padding=rate, dilation=rate) for rate in rates]
        for branch in branches:
            nn.init.normal_(branch.weight, std=0.01)
        self.branches = nn.ModuleList(branches)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.branches[0](features)
        for branch in self.branches[1:]:
            logits = logits + branch(features)
        return logits


def dilate_whole_stages(encoder: Any, dilations: Mapping[str, int]) -> None:
    """Give all blocks of a ResNet's stage the same dilation, as in DeepLab; in timm the first block lags by a stage."""
    stages = getattr(encoder, "model", encoder)
    for name, dilation in dilations.items():
        for layer in getattr(stages, name, nn.Identity()).modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                layer.dilation = layer.padding = (dilation, dilation)
