"""Images that a person gives, as files, PIL images, arrays or tensors, become one kind of picture; needs no torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fewmask.errors import UserError
from fewmask.use.raster import Source, opened_source
from fewmask.use.raster.source import WholeSource

if TYPE_CHECKING:
    from torch import Tensor

    AnyImage = str | Path | NDArray[Any] | Image.Image | Tensor
else:  # torch stays out
    AnyImage = Any
"""A file, a PIL image, a uint8 RGB array [h w 3], or a tensor [3 h w], uint8 or floats in [0, 1]."""


@contextmanager
def given_source(image: Any) -> Iterator[Source]:
    """The picture of an `AnyImage`; a large file is read in pieces.

    Raises:
        UserError: the file cannot be read, the picture has more than 8 bits, or the array is not an image.
    """
    if isinstance(image, str | Path):
        with opened_source(Path(image)) as source:
            yield source
    else:
        yield WholeSource(as_pixels(image))


def as_pixels(image: Any) -> NDArray[np.uint8]:
    """A PIL image (turned upright by its EXIF orientation), array or tensor as RGB uint8 [h w 3].

    Raises:
        UserError: the picture has more than 8 bits, or the array or tensor is not an image.
    """
    if isinstance(image, Image.Image):
        return _of_picture(image)
    if hasattr(image, "detach"):
        return _of_tensor(image)
    pixels = np.array(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        what = f"an array of shape {pixels.shape} and type {pixels.dtype} is no image"
        raise UserError(what, "predict", "Give uint8 [h, w, 3] RGB.")
    return pixels


def is_one_image(images: Any) -> bool:
    """Whether this is one image, and not several."""
    return isinstance(images, str | Path | Image.Image) or getattr(images, "ndim", 4) <= 3


def _of_tensor(tensor: Any) -> NDArray[np.uint8]:
    array = tensor.detach().cpu().numpy()
    is_float = array.dtype.kind == "f"
    in_range = not is_float or (array.size and array.min() >= 0 and array.max() <= 1)
    if (
        array.ndim != 3
        or array.shape[0] != 3
        or not array.size
        or not in_range
        or not (is_float or array.dtype == np.uint8)
    ):
        what = f"a tensor of shape {tuple(array.shape)} and type {array.dtype} is no image"
        raise UserError(what, "predict", "Give [3, h, w] RGB: uint8, or floats in [0, 1].")
    levels = np.round(array * 255).astype(np.uint8) if is_float else array
    return np.ascontiguousarray(np.moveaxis(levels, 0, 2))


def _of_picture(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode.startswith(("I", "F")):  # Pillow would clip its levels at 255
        fix = "Give its file, which is read in full depth, or convert it to 8 bits."
        raise UserError(f"a picture of mode {picture.mode} has no 8-bit levels", "predict", fix)
    upright = ImageOps.exif_transpose(picture)
    opaque = upright.convert("RGBA") if "transparency" in upright.info else upright
    return np.array(opaque.convert("RGB"))
