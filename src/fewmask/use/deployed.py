"""A network as it is used: images of any size go in, and class probabilities at their size come out."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

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

_LOGITS = 2**26
"""At full size at once, 256 MiB: of small images several go through together, of large ones each alone."""


class Deployed(nn.Module):
    """The one way from images to class probabilities: resize, network, back to the size of the images, softmax.

    The images of a batch have one size. They are uint8, as files hold them, or floats in [0, 1]. They may lie on
    another device than the network: they are resized where they are, and moved then.

    Training resizes on 8-bit levels. So floats are rounded to the nearest of the 256 levels before they are resized,
    and an 8-bit image gives the same result to the bit whether it comes as uint8 or divided by 255. Where nothing is
    resized, floats keep their full depth.

    `forward` leaves the mode of the network as it is; `probabilities` and `predicted_labels` run it in evaluation mode.
    The network computes in float32 unless it is called under autocast.

    Attributes:
        net: the network.
        resize: from the size of an image to the size that the network is trained at.
        classes: what the k channels are.
    """

    def __init__(self, net: SegNet, resize: Resize, classes: Classes) -> None:
        super().__init__()
        self.net, self.resize, self.classes = net, resize, classes

    def forward(self, images: Images | UInt8[Tensor, "b 3 h w"]) -> Probabilities:
        """In [0, 1], of sum 1 over the classes, at the size of the images, on the network's device."""
        return self.logits(images).softmax(dim=1)

    def logits(self, images: Images | UInt8[Tensor, "b 3 h w"]) -> Float32[Tensor, "b k h w"]:
        """What the softmax takes; always float32."""
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


@torch.inference_mode()
def predicted_labels(
    networks: Mapping[str, Deployed], images: Iterable[ByteImage], batch: int = 8
) -> Iterator[dict[str, ByteLabel]]:
    """Per image the most probable class of each pixel by every network, on its device.

    Neighbors of one size go through together, at most `batch` of them. Labels are read off the logits: the softmax
    would only round their order away.
    """
    num_classes = max(deployed.net.num_classes for deployed in networks.values())
    for group in _runs_of_equal_size(images, batch, _LOGITS // num_classes):
        together = torch.stack(group)
        answers = {name: _labels(deployed, together) for name, deployed in networks.items()}
        for index in range(len(group)):
            yield {name: labels[index] for name, labels in answers.items()}


def _labels(deployed: Deployed, images: UInt8[Tensor, "b 3 h w"]) -> UInt8[Tensor, "b h w"]:
    with _ready(deployed):
        return deployed.logits(images).argmax(dim=1).byte()


@contextmanager
def _ready(deployed: Deployed) -> Iterator[None]:
    """With the network in evaluation mode, and with a line for a person where the memory is full."""
    fix = "Cut the images into tiles, or leave a GPU for the CPU (--device cpu; training.device=cpu)."
    with in_eval_mode(deployed.net), enough_memory(fix):
        yield


def _runs_of_equal_size(images: Iterable[ByteImage], longest: int, pixels: int) -> Iterator[list[ByteImage]]:
    """At most `longest` at once, and at most so many that they have `pixels` together; one at the least."""
    group: list[ByteImage] = []
    for image in images:
        longest_here = min(longest, pixels // image[0].numel())
        if group and (image.shape != group[0].shape or len(group) >= longest_here):
            yield group
            group = []
        group.append(image)
    if group:
        yield group
