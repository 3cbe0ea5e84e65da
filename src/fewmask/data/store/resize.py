"""Resizes 8-bit images and labels from their size on disk to the size that a network is trained at."""

from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as resizing

from fewmask.data.size import Resize, target_size
from fewmask.errors import UserError
from fewmask.shapes import ByteLabel, UInt8


def resized_images(images: UInt8[Tensor, "*b 3 h w"], resize: Resize) -> UInt8[Tensor, "*b 3 new_h new_w"]:
    """Resizes bilinearly with antialiasing; the result is rounded to 8-bit levels."""
    size = target_size(images.shape[-2:], resize)
    if size == tuple(images.shape[-2:]):
        return images
    if size == (1, 1):  # torch cannot resize to this size with antialiasing
        raise UserError("an image shrinks to a single pixel", "data.resize", "Take a larger one.")
    resized: Tensor = resizing.resize(images, list(size), InterpolationMode.BILINEAR, antialias=True)
    return resized


def resized_labels(labels: ByteLabel, resize: Resize) -> UInt8[Tensor, "new_h new_w"]:
    """Resizes to the nearest label, so that no class appears that was not there."""
    size = target_size(labels.shape, resize)
    if size == tuple(labels.shape):
        return labels
    resized: Tensor = resizing.resize(labels[None], list(size), InterpolationMode.NEAREST_EXACT)[0]
    return resized
