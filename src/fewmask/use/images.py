"""Images that a person gives, as files, PIL images or arrays, are turned into one kind of tensor."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.images import read_image
from fewmask.errors import UserError
from fewmask.shapes import ByteImage

AnyImage = str | Path | NDArray[Any] | Image.Image
"""A file, a PIL image, or a uint8 RGB array [h w 3]."""


def as_tensor(image: AnyImage) -> ByteImage:
    """The image as RGB, uint8 [3 h w].

    Raises:
        UserError: the file cannot be read, the picture has more than 8 bits, or the array is not an image.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image))
    pixels = _pixels(image) if isinstance(image, Image.Image) else np.array(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UserError(
            f"an array of shape {pixels.shape} and type {pixels.dtype} is no image",
            "predict",
            "Give uint8 [h, w, 3] RGB.",
        )
    return torch.from_numpy(pixels).permute(2, 0, 1)


def check_is_list(images: Any) -> None:
    """Raises UserError if one image is given instead of a list of images."""
    if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim == 3):
        where = images if isinstance(images, str | Path) else "predict"
        raise UserError("this is one image, not a list", where, "Write predict([image]) or predict_one(image).")


def _pixels(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode.startswith(("I", "F")):  # Pillow would clip its levels at 255
        fix = "Give its file, which is read in full depth, or convert it to 8 bits."
        raise UserError(f"a picture of mode {picture.mode} has no 8-bit levels", "predict", fix)
    opaque = picture.convert("RGBA") if "transparency" in picture.info else picture
    return np.array(opaque.convert("RGB"))
