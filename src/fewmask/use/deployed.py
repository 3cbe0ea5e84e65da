"""Class probabilities of images of any size, at full size, from a network trained at another."""

from collections.abc import Iterable, Iterator

import torch
from torch.nn import functional as F

from fewmask.data.store import Resize, resized_images
from fewmask.models.segnet import SegNet
from fewmask.shapes import ByteImage, Float32, Logits
from fewmask.use.device import enough_memory

Probabilities = Float32[torch.Tensor, "k h w"]

_LOGITS = 2**26
"""At full size at once, 256 MiB: of small images several go through together, of large ones each alone."""


@torch.inference_mode()
def probabilities(net: SegNet, image: ByteImage, resize: Resize) -> Probabilities:
    """Softmax scores at the image's own size; the network sees the image at training size."""
    return _logits(net, [image], resize, image.shape[-2:])[0].softmax(dim=0)


@torch.inference_mode()
def predicted_labels(
    nets: dict[str, SegNet], images: Iterable[ByteImage], resize: Resize, batch: int = 8
) -> Iterator[dict[str, torch.Tensor]]:
    """Per image the argmax of every net, uint8 [h w] on the device; neighbors of one size go through together."""
    num_classes = max(net.num_classes for net in nets.values())
    for group in _runs_of_equal_size(images, batch, _LOGITS // num_classes):
        size = group[0].shape[-2:]
        answers = {name: _logits(net, group, resize, size).argmax(dim=1).to(torch.uint8) for name, net in nets.items()}
        for index in range(len(group)):
            yield {name: labels[index] for name, labels in answers.items()}


def _logits(net: SegNet, images: list[ByteImage], resize: Resize, size: torch.Size) -> Logits:
    """At `size`. In float32: scores must not depend on whether a machine has bfloat16."""
    net.eval()
    with enough_memory("Cut the images into tiles, or leave a GPU for the CPU (--device cpu; training.device=cpu)."):
        return _logits_at(net, images, resize, size)


def _logits_at(net: SegNet, images: list[ByteImage], resize: Resize, size: torch.Size) -> Logits:
    device = net.mean.device
    inputs = torch.stack([resized_images(image, resize) for image in images]).to(device).float() / 255
    logits: Logits = net(inputs).logits.float()
    if logits.shape[-2:] != size:
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return logits


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
