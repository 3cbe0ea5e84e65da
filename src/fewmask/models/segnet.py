"""One segmentation network for images of any size, in three parts: encode, decode, classify.

The methods need three things from a network: logits, the features just before the classification layer (section 3.4 of
Alonso et al., ICCV 2021, https://arxiv.org/abs/2104.13415), and a place between encoder and decoder where they may
perturb what passes.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fewmask.errors import UserError
from fewmask.models.anatomy import cut_at_the_classifier, in_channels, input_stride, normalizes_one_pixel
from fewmask.models.encoded import Encoded
from fewmask.models.grid import at_size, pad, round_up
from fewmask.ops.imagenet import IMAGENET_MEAN, IMAGENET_STD
from fewmask.shapes import Features, Float, Images, Logits

BatchNormMode = Literal["train", "affine_frozen", "frozen"]


class SegOutput(NamedTuple):
    """Logits at the size of the images, and the features before the classification layer, on their own grid."""

    logits: Logits
    features: Features


class SegNet(nn.Module):
    """A network of segmentation_models_pytorch's shape, cut at its classification layer.

    `forward` is `encode`, `decode` and `classify`, one after the other; a method may change what passes between two.

    Args:
        network: a module with `encoder`, `decoder` and `segmentation_head`. It is changed in place: its head loses
            upsampling and activation, and the layers before DPT's last 1x1 convolution join its decoder.
        num_classes: channels of the logits.
        mean: mean of each channel that the encoder's weights expect, for RGB in [0, 1].
        std: standard deviation of each channel that the encoder's weights expect, for RGB in [0, 1].
        batchnorm: how the encoder's BatchNorm trains. `affine_frozen` keeps gamma and beta as loaded and normalizes
            with batch statistics, as in the released code of Alonso et al.; `frozen` keeps gamma and beta too, and
            always normalizes with the loaded running statistics.

    Attributes:
        num_classes: channels of the logits.
        feature_dim: channels of the features.
        stride: images are padded to a multiple of this. The features may lie on a finer grid, which their shape tells.
        min_batch: the fewest images in a training batch; 2 if a layer normalizes one pooled pixel over the batch.
        gate: changes the logits in evaluation; a module of the prepared images and the logits, or None.
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
        cut_at_the_classifier(network)
        self.network = network.to(memory_format=torch.channels_last)  # faster, on CPUs too
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        self.num_classes = num_classes
        self.feature_dim = in_channels(self.network.segmentation_head)
        self.min_batch = 2 if normalizes_one_pixel(self.network.decoder) else 1
        self.batchnorm = batchnorm
        self.gate: nn.Module | None = None
        if batchnorm != "train":
            for layer in self._encoder_batchnorms():
                layer.requires_grad_(False)
        self.train()

    @property
    def stride(self) -> int:
        return input_stride(self.network)

    def forward(self, images: Images) -> SegOutput:
        height, width = images.shape[-2:]
        features = self.features(images)
        return SegOutput(self._gated(images, self.classify(features, (height, width))), features)

    def cells(self, images: Images) -> Float[Tensor, "b k hs ws"]:
        """The logits on the grid of the features; `at_size` of them are the logits of `forward`."""
        return self._gated(images, self.classify_cells(self.features(images)))

    def _gated(self, images: Images, logits: Float[Tensor, "b k hs ws"]) -> Float[Tensor, "b k hs ws"]:
        """What the gate lets pass of logits on any grid."""
        return logits if self.gate is None or self.training else self.gate(self.prepared(images), logits)

    def features(self, images: Images) -> Features:
        """The features that the classification layer reads, of the padded images."""
        return self.decode(self.encode(images))

    def encode(self, images: Images) -> Encoded:
        """Prepares the images, and returns the encoder's maps.

        Raises:
            UserError: the network is in training and a BatchNorm would have only one value to normalize.
        """
        self.check_trains(images)
        padded = self.prepared(images)
        encoded = self.network.encoder(padded)
        maps, tokens = encoded if isinstance(encoded, tuple) else (encoded, None)  # a vision transformer has tokens
        if maps[0].shape == padded.shape:  # most encoders hand on the image as their level of depth 0
            return Encoded(list(maps[1:]), tokens, maps[0])
        return Encoded(list(maps), tokens)

    def prepared(self, images: Images) -> Float[Tensor, "b 3 hp wp"]:
        """The images, normalized and padded to a multiple of the stride, as the encoder takes them.

        Zeros are added at the bottom and at the right after normalization. Every convolution pads with the same zeros,
        so the border looks as it did in training.
        """
        normalized = (images - self.mean) / self.std
        return pad(normalized, self.stride, fill=0.0).contiguous(memory_format=torch.channels_last)

    def decode(self, encoded: Encoded) -> Features:
        """The features that the classification layer reads, from maps of `encode` that a method may have changed."""
        maps = encoded.maps if encoded.image is None else [encoded.image, *encoded.maps]
        tokens = () if encoded.tokens is None else (encoded.tokens,)
        features: Tensor = self.network.decoder(maps, *tokens)
        return features

    def check_trains(self, images: Images) -> None:
        """Raise a UserError if the network is in training and a BatchNorm would have only one value to normalize."""
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
            and max(round_up(length, self.stride) for length in images.shape[-2:]) <= cell
            and any(layer.training for layer in self._encoder_batchnorms())
        ):
            raise UserError(
                f"the network makes one cell of at most {cell} x {cell} pixels, "
                "and BatchNorm cannot normalize one cell of one image",
                fix="Train with larger crops (data.crop), or with at least two images in a batch.",
            )

    def classify(self, features: Features, size: tuple[int, int]) -> Logits:
        """Logits at `size` (height, width), the size of the images from which the features were computed.

        The classification layer runs on the grid of the features. Its logits are upsampled bilinearly to the padded
        image, with corners aligned as in the papers, and the padding is cut off.
        """
        return self.at_size(self.classify_cells(features), size)

    def at_size(self, logits: Float[Tensor, "b k hs ws"], size: tuple[int, int]) -> Logits:
        """Upsamples logits on any grid of the padded image as `classify` does."""
        return at_size(logits, size, self.stride)

    def classify_cells(self, features: Features) -> Float[Tensor, "b k hs ws"]:
        """Logits on the grid of the features, which may have been pooled."""
        logits: Tensor = self.network.segmentation_head(features)
        return logits

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Every parameter that trains, once, by part: `encoder`, `decoder` and `classifier`."""
        parts = {"encoder": "encoder", "decoder": "decoder", "classifier": "segmentation_head"}
        return {
            group: [parameter for parameter in self.network.get_submodule(part).parameters() if parameter.requires_grad]
            for group, part in parts.items()
        }

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles encoder, decoder and classifier in place, so that every way through the network is compiled.

        The arguments are those of `torch.compile`. Names of weights stay the same.
        """
        for part in (self.network.encoder, self.network.decoder, self.network.segmentation_head):
            part.compile(*args, **kwargs)

    def train(self, mode: bool = True) -> "SegNet":
        super().train(mode)
        if self.batchnorm == "frozen":
            for layer in self._encoder_batchnorms():
                layer.eval()
        return self

    def _encoder_batchnorms(self) -> list[_BatchNorm]:
        return [layer for layer in self.network.encoder.modules() if isinstance(layer, _BatchNorm)]
