"""One segmentation network: it normalizes, pads, encodes, decodes and classifies images of any size.

The methods need three things from a network: logits, the features just before the classification layer (section 3.4 of
Alonso et al., ICCV 2021, https://arxiv.org/abs/2104.13415), and labels on the grid of those features.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.dpt.decoder import DPTSegmentationHead
from segmentation_models_pytorch.decoders.pan.decoder import PANDecoder
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from fewmask.errors import UserError
from fewmask.models.deeplabv2 import DeepLabV2
from fewmask.ops.imagenet import IMAGENET_MEAN, IMAGENET_STD
from fewmask.shapes import IGNORE, Features, Images, Labels, Logits

BatchNormMode = Literal["train", "affine_frozen", "frozen"]


class SegOutput(NamedTuple):
    logits: Logits
    features: Features


class SegNet(nn.Module):
    """A network of segmentation_models_pytorch's shape, cut at its classification layer.

    Args:
        network: a module with `encoder`, `decoder` and `segmentation_head`; it is changed in place: the upsampling and
            activation of its head go, and what comes before DPT's last 1x1 convolution joins its decoder.
        num_classes: channels of the logits.
        mean: what the encoder's weights expect to be subtracted from RGB in [0, 1].
        std: what they expect the difference to be divided by.
        batchnorm: of the encoder. `affine_frozen` keeps gamma and beta as loaded while batch statistics normalize, as
            in the released code of Alonso et al.; `frozen` also normalizes with the loaded running statistics, always.

    Attributes:
        num_classes: channels of the logits.
        feature_dim: channels of the features.
        stride: inputs are padded to a multiple of it. The grid of the features may be finer: their shape tells it.
        min_batch: the fewest images that train; 2 where a layer normalizes one pooled pixel over the batch.
    """

    network: Any
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        batchnorm: BatchNormMode = "train",
    ) -> None:
        super().__init__()
        _cut_at_the_classifier(network)
        self.network = network.to(memory_format=torch.channels_last)  # faster, on CPUs too
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        self.num_classes = num_classes
        self.feature_dim = _in_channels(self.network.segmentation_head)
        self.min_batch = 2 if _normalizes_one_pixel(self.network.decoder) else 1
        self.batchnorm = batchnorm
        if batchnorm != "train":
            for layer in self._encoder_batchnorms():
                layer.requires_grad_(False)
        self.train()

    @property
    def stride(self) -> int:
        return _input_stride(self.network)

    def forward(self, images: Images) -> SegOutput:
        height, width = images.shape[-2:]
        features = self.features(images)
        return SegOutput(self.classify(features, (height, width)), features)

    def features(self, images: Images) -> Features:
        """What the classification layer sees, on the grid of the padded image.

        Images are padded at the bottom and right with zeros after normalization: every convolution continues an image
        with just these zeros, so the border looks as it did in training.
        """
        self.check_trains(images)
        normalized = (images - self.mean) / self.std
        padded = _pad(normalized, self.stride, fill=0.0).contiguous(memory_format=torch.channels_last)
        encoded = self.network.encoder(padded)
        # DPT's encoder hands over its class token beside the maps
        features: Tensor = self.network.decoder(*encoded if isinstance(encoded, tuple) else (encoded,))
        return features

    def check_trains(self, images: Images) -> None:
        """Raise a UserError where the network is in training and BatchNorm would have one value to normalize."""
        if self.training and len(images) < self.min_batch:
            raise UserError(
                "this architecture pools a whole image to one pixel and normalizes it over the batch, "
                "which has no meaning for a batch of one",
                fix="Train with at least two images in a batch (training.labeled_batch, training.unlabeled_batch), or "
                "choose another net.arch, such as unet or fpn.",
            )
        cell = int(self.network.encoder.output_stride)
        if (
            len(images) == 1
            and max(_round_up(length, self.stride) for length in images.shape[-2:]) <= cell
            and any(layer.training for layer in self._encoder_batchnorms())
        ):
            raise UserError(
                f"the network makes one cell of at most {cell} x {cell} pixels, "
                "and BatchNorm cannot normalize one cell of one image",
                fix="Train with larger crops (data.crop), or with at least two images in a batch.",
            )

    def classify(self, features: Features, size: tuple[int, int]) -> Logits:
        """Logits at `size` (height, width), the size of the images that `features` was made of.

        The classification layer runs on the grid of the features; one bilinear step (corners aligned, as in the papers)
        brings its logits to the padded image, and the padding is cut off.
        """
        height, width = size
        padded = (_round_up(height, self.stride), _round_up(width, self.stride))
        logits = self.classify_cells(features)
        if logits.shape[-2:] != padded:
            logits = F.interpolate(logits, padded, mode="bilinear", align_corners=True)
        return logits[..., :height, :width]

    def classify_cells(self, features: Features) -> Float[Tensor, "b k hs ws"]:
        """Logits on the grid of the features, which may have been pooled."""
        logits: Tensor = self.network.segmentation_head(features)
        return logits

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Every parameter that trains, once: by `encoder`, `decoder` and `classifier`."""
        parts = {"encoder": "encoder", "decoder": "decoder", "classifier": "segmentation_head"}
        return {
            group: [parameter for parameter in self.network.get_submodule(part).parameters() if parameter.requires_grad]
            for group, part in parts.items()
        }

    def train(self, mode: bool = True) -> "SegNet":
        super().train(mode)
        if self.batchnorm == "frozen":
            for layer in self._encoder_batchnorms():
                layer.eval()
        return self

    def _encoder_batchnorms(self) -> list[_BatchNorm]:
        return [layer for layer in self.network.encoder.modules() if isinstance(layer, _BatchNorm)]


def on_grid(
    maps: Shaped[Tensor, "b h w"], grid: tuple[int, int], stride: int, fill: float | int, align_corners: bool = False
) -> Shaped[Tensor, "b hs ws"]:
    """A per-pixel map, sampled where the features are: entry i of the flat map belongs to row i of the flat features.

    Args:
        maps: labels, confidence or a mask, of the images the features were made of.
        grid: height and width of the features.
        stride: of the network (`SegNet.stride`).
        fill: the value of the padding, such as IGNORE or a confidence of 0.
        align_corners: the last cell takes the last pixel, where `classify` puts it, and the nearest pixel counts: so in
            the released code of Zhao et al. Else cell (i, j) takes the pixel at (i H / hs, j W / ws), rounded down, of
            the padded map: where the receptive field of a convolutional encoder is centered, and what the released
            code of Alonso et al. takes.

    Returns:
        The same type.
    """
    padded = _pad(maps, stride, fill)
    rows, columns = (
        _nearest_pixels(cells, pixels, maps.device) if align_corners else _first_pixels(cells, pixels, maps.device)
        for cells, pixels in zip(grid, padded.shape[-2:], strict=True)
    )
    return padded[:, rows[:, None], columns]


def _first_pixels(cells: int, pixels: int, device: torch.device) -> Tensor:
    return torch.arange(cells, device=device) * pixels // cells


def _nearest_pixels(cells: int, pixels: int, device: torch.device) -> Tensor:
    """Of halves the later one."""
    gaps = max(cells - 1, 1)
    return (2 * torch.arange(cells, device=device) * (pixels - 1) + gaps) // (2 * gaps)


def on_coarse_grid(
    features: Features, labels: Labels, stride: int, cell: int, align_corners: bool = False
) -> tuple[Float[Tensor, "b d hg wg"], Int64[Tensor, "b hg wg"]]:
    """Features and their labels on a grid of about `cell` pixels: of a finer map, every so many rows and columns.

    `stride` is that of the network; IGNORE fills the padding; `align_corners` as in `on_grid`.
    """
    height, width = features.shape[-2:]
    skip = max(1, cell * width // _round_up(labels.shape[-1], stride))
    classes = on_grid(labels, (height, width), stride, IGNORE, align_corners)
    return features[:, :, ::skip, ::skip], classes[:, ::skip, ::skip]


def _pad(maps: Tensor, stride: int, fill: float | int) -> Tensor:
    height, width = maps.shape[-2:]
    bottom, right = _round_up(height, stride) - height, _round_up(width, stride) - width
    return F.pad(maps, (0, right, 0, bottom), value=fill) if bottom or right else maps


def _round_up(length: int, stride: int) -> int:
    return (length + stride - 1) // stride * stride


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


def _cut_at_the_classifier(network: Any) -> None:
    head = network.segmentation_head
    if isinstance(head, DPTSegmentationHead):
        network.decoder = _DPTFeatures(network.decoder, head.head[:-2])
        network.segmentation_head = head.head[-2:]
    elif isinstance(head, SegmentationHead):
        network.segmentation_head = nn.Sequential(head[0])


def _input_stride(network: Any) -> int:
    """What height and width of the input must be a multiple of, so that every level of the network fits the next."""
    stride = int(network.encoder.output_stride)
    decoder = network.decoder
    if isinstance(network, DeepLabV2) and network.caffe:  # one level, on a grid that is no multiple
        return 1
    if isinstance(decoder, PANDecoder):  # halves the last map of the encoder three times
        return 8 * stride
    if isinstance(decoder, _DPTFeatures):  # halves the tokens' grid, or more, for its coarsest level
        coarsest = decoder.decoder.reassemble_blocks[-1].upsample
        return stride * coarsest.stride[0] if isinstance(coarsest, nn.Conv2d) else stride
    return stride


def _normalizes_one_pixel(decoder: nn.Module) -> bool:
    return any(
        isinstance(block, nn.Sequential)
        and any(isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)) for layer in block)
        and any(isinstance(layer, _BatchNorm) for layer in block.modules())
        for block in decoder.modules()
    )


def _in_channels(head: nn.Module) -> int:
    return next(layer.in_channels for layer in head.modules() if isinstance(layer, nn.Conv2d))
