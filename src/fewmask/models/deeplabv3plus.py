"""DeepLabv3+ with full 3x3 convolutions; segmentation_models_pytorch's has separable ones and other rates.

Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation, ECCV 2018,
https://arxiv.org/abs/1802.02611; the second network of Alonso et al., ICCV 2021, as their released code builds it.
"""

from typing import Any

import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.models.deeplabv2 import dilate_whole_stages

RATES = (6, 12, 18)
DIM = 256
DETAIL_DIM = 48


class DeepLabV3Plus(nn.Module):
    """Encoder, decoder and head as segmentation_models_pytorch names them; the features are at stride 4.

    Args:
        encoder_name: a name of segmentation_models_pytorch, for any encoder that can be dilated to a stride of 16.
        classes: channels of the logits.
        encoder_weights: as for segmentation_models_pytorch.
        encoder_options: further keywords of the encoder.
    """

    def __init__(
        self, encoder_name: str, classes: int, encoder_weights: str | None = None, **encoder_options: Any
    ) -> None:
        super().__init__()
        self.encoder = get_encoder(encoder_name, weights=encoder_weights, output_stride=16, **encoder_options)
        dilate_whole_stages(self.encoder, {"layer4": 2})
        self.decoder = Decoder(self.encoder.out_channels[-1], self.encoder.out_channels[2])
        self.segmentation_head = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(DIM, classes, 1))
        for part in (self.decoder, self.segmentation_head):
            for layer in part.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.normal_(layer.weight, std=0.01)


class Decoder(nn.Module):
    """Joins context, from dilated convolutions and a pooled pixel, with detail from the encoder's stage at stride 4."""

    def __init__(self, in_channels: int, detail_channels: int) -> None:
        super().__init__()
        pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_block(in_channels, DIM))
        dilated = [_block(in_channels, DIM, 3, rate) for rate in RATES]
        self.branches = nn.ModuleList([_block(in_channels, DIM), *dilated, pooled])
        self.project = nn.Sequential(*_block(len(self.branches) * DIM, DIM), nn.Dropout(0.5))
        self.detail = _block(detail_channels, DETAIL_DIM)
        self.fuse = nn.Sequential(*_block(DIM + DETAIL_DIM, DIM, 3), *_block(DIM, DIM, 3))

    def forward(self, features: list[Tensor]) -> Tensor:
        last, detail = features[-1], self.detail(features[2])
        context = self.project(torch.cat([_resized(branch(last), last) for branch in self.branches], dim=1))
        fused: Tensor = self.fuse(torch.cat([_resized(context, detail), detail], dim=1))
        return fused


def _block(in_channels: int, out_channels: int, size: int = 1, rate: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU."""
    convolution = nn.Conv2d(in_channels, out_channels, size, padding=rate * (size // 2), dilation=rate, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=True)
