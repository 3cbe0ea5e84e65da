"""What SegNet must know about a network of segmentation_models_pytorch: where to cut it and which sizes it takes."""

from typing import Any

from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.dpt.decoder import DPTSegmentationHead
from segmentation_models_pytorch.decoders.pan.decoder import PANDecoder
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fewmask.models.deeplabv2 import DeepLabV2
from fewmask.models.deeplabv3plus import DeepLabV3Plus


def cut_at_the_classifier(network: Any) -> None:
    """Reduce the head to its last layers, without upsampling and activation; the rest of DPT's joins the decoder."""
    head = network.segmentation_head
    if isinstance(head, DPTSegmentationHead):
        network.decoder = _DPTFeatures(network.decoder, head.head[:-2])
        network.segmentation_head = head.head[-2:]
    elif isinstance(head, SegmentationHead):
        network.segmentation_head = nn.Sequential(head[0])


def input_stride(network: Any) -> int:
    """The number that the input's sides must be multiples of, so that every level of the network fits the next."""
    stride = int(network.encoder.output_stride)
    decoder = network.decoder
    if _is_of_the_papers(network):
        return 1
    if isinstance(decoder, PANDecoder):  # it halves the last map of the encoder three times
        return 8 * stride
    if isinstance(decoder, _DPTFeatures):  # it divides the tokens' grid by two or more for its coarsest level
        coarsest = decoder.decoder.reassemble_blocks[-1].upsample
        return stride * coarsest.stride[0] if isinstance(coarsest, nn.Conv2d) else stride
    return stride


def _is_of_the_papers(network: Any) -> bool:
    """Whether this is one of the papers' DeepLabs over a ResNet, which take an image of any size as it is.

    Their convolutions pad every level alike, and the decoder brings one level to the size of another. So a crop of 321
    pixels has the 41 cells of the papers, and upsampling with aligned corners leaves cell i at pixel 8 i, where it
    looks.
    """
    is_resnet = hasattr(getattr(network.encoder, "model", network.encoder), "layer4")
    return is_resnet and isinstance(network, DeepLabV2 | DeepLabV3Plus)


def normalizes_one_pixel(decoder: nn.Module) -> bool:
    """Whether a BatchNorm of the decoder sees one pixel of each image, so that one image cannot train it."""
    return any(
        isinstance(block, nn.Sequential)
        and any(isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)) for layer in block)
        and any(isinstance(layer, _BatchNorm) for layer in block.modules())
        for block in decoder.modules()
    )


def in_channels(head: nn.Module) -> int:
    """The number of channels that the classification layer reads."""
    return next(layer.in_channels for layer in head.modules() if isinstance(layer, nn.Conv2d))


class _DPTFeatures(nn.Module):
    """DPT's decoder and the part of its head before the dropout and the last 1x1 convolution."""

    decoder: Any

    def __init__(self, decoder: nn.Module, neck: nn.Sequential) -> None:
        super().__init__()
        self.decoder = decoder
        self.neck = neck

    def forward(self, features: list[Tensor], prefix_tokens: list[Tensor | None]) -> Tensor:
        fused: Tensor = self.neck(self.decoder(features, prefix_tokens))
        return fused
