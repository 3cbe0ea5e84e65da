"""A network as it is used: it takes images of any size and returns class probabilities at their size."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.data.batch import to_unit
from fewmask.data.classes import Classes
from fewmask.data.store import Resize, resized_images, target_size
from fewmask.models.modes import in_eval_mode
from fewmask.models.segnet import SegNet
from fewmask.shapes import ByteImage, ByteLabel, Float32, Images, UInt8
from fewmask.use.device import enough_memory

Probabilities = Float32[Tensor, "b k h w"]
_Read = TypeVar("_Read")

_LOGITS = 2**26
"""The largest number of logits at full size at once; they take 256 MiB.

Several small images go through the network together, and a large image goes alone.
"""


class Deployed(nn.Module):
    """The one way from images to class probabilities: resize, network, back to the size of the images, softmax.

    The images of a batch have one size. They are uint8, as files hold them, or floats in [0, 1]. They may lie on
    another device than the network: they are resized on their own device and then moved.

    Training resizes on 8-bit levels. So floats are rounded to the nearest of the 256 levels before they are resized,
    and an 8-bit image gives the same result to the bit whether it comes as uint8 or divided by 255. Where nothing is
    resized, floats keep their full depth.

    `forward` leaves the mode of the network as it is; `probabilities` and `predicted_labels` run it in evaluation mode.
    The network computes in float32 unless it is called under autocast.

    Attributes:
        net: the network.
        resize: from the size of an image to the size that the network is trained at.
        classes: the meaning of the k channels.
    """

    def __init__(self, net: SegNet, resize: Resize, classes: Classes) -> None:
        super().__init__()
        self.net, self.resize, self.classes = net, resize, classes

    def forward(self, images: Images | UInt8[Tensor, "b 3 h w"]) -> Probabilities:
        """Class probabilities of sum 1 in [0, 1], at the size of the images, on the network's device."""
        return self.logits(images).softmax(dim=1)

    def logits(self, images: Images | UInt8[Tensor, "b 3 h w"]) -> Float32[Tensor, "b k h w"]:
        """The logits before the softmax, at the size of the images; always float32."""
        inputs = to_unit(self._resized(images), self.net.mean.device)
        logits: Tensor = self.net(inputs).logits.float()
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)
        return logits

    def _resized(self, images: Tensor) -> Tensor:
        if target_size(images.shape[-2:], self.resize) == tuple(images.shape[-2:]):
            return images
        levels = images.mul(255).round().byte() if images.is_floating_point() else images
        return resized_images(levels, self.resize)


@torch.inference_mode()
def probabilities(deployed: Deployed, image: ByteImage) -> Float32[Tensor, "k h w"]:
    """Class probabilities of one image at its size."""
    with _ready(deployed):
        return deployed(image[None])[0]  # type: ignore[no-any-return]


class Labeled(NamedTuple):
    """The most probable class of each pixel of an image, and its probability in [0, 1], on the network's device."""

    labels: ByteLabel
    confidence: Float32[Tensor, "h w"]


def predicted_labels(
    networks: Mapping[str, Deployed], images: Iterable[ByteImage], batch: int = 8
) -> Iterator[dict[str, ByteLabel]]:
    """Yields for each image the most probable class of each pixel, as uint8 on the network's device, by network.

    Neighbors of one size go through together, at most `batch` of them. Labels are taken from the logits, because the
    softmax would only round away their order.
    """
    return _predicted(networks, images, batch, _labels)


def labels_and_confidence(
    networks: Mapping[str, Deployed], images: Iterable[ByteImage], batch: int = 8
) -> Iterator[dict[str, Labeled]]:
    """Yields what `predicted_labels` does, with the probability of each label."""
    return _predicted(
        networks, images, batch, lambda logits: Labeled(_labels(logits), logits.softmax(dim=0).amax(dim=0))
    )


@torch.inference_mode()
def _predicted(
    networks: Mapping[str, Deployed], images: Iterable[ByteImage], batch: int, read: Callable[[Tensor], _Read]
) -> Iterator[dict[str, _Read]]:
    """What `read` makes of the logits [k h w] of each image, by network."""
    num_classes = max(deployed.net.num_classes for deployed in networks.values())
    for group in _runs_of_equal_size(images, batch, _LOGITS // num_classes):
        together = torch.stack(group)
        answers: dict[str, list[_Read]] = {}
        for name, deployed in networks.items():
            with _ready(deployed):
                answers[name] = [read(logits) for logits in deployed.logits(together)]
        for index in range(len(group)):
            yield {name: found[index] for name, found in answers.items()}


def _labels(logits: Float32[Tensor, "k h w"]) -> ByteLabel:
    return logits.argmax(dim=0).byte()


@contextmanager
def _ready(deployed: Deployed) -> Iterator[None]:
    """Puts the network in evaluation mode, and turns a full memory into an error that says what to do."""
    fix = "Cut the images into tiles, or leave a GPU for the CPU (--device cpu; training.device=cpu)."
    with in_eval_mode(deployed.net), enough_memory(fix):
        yield


def _runs_of_equal_size(images: Iterable[ByteImage], longest: int, pixels: int) -> Iterator[list[ByteImage]]:
    """Groups of neighbors of one size: at most `longest` images and `pixels` values in each, but at least one image."""
    group: list[ByteImage] = []
    for image in images:
        longest_here = min(longest, pixels // image[0].numel())
        if group and (image.shape != group[0].shape or len(group) >= longest_here):
            yield group
            group = []
        group.append(image)
    if group:
        yield group
