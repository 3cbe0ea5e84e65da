"""Decodes an image file to RGB with 8 bits, upright; needs no torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fewmask.data.opening import opened
from fewmask.errors import UserError


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """The picture as RGB uint8 [h w 3], turned upright by its EXIF orientation.

    Gray is repeated in all channels, transparency is dropped, and palette colors are looked up. 16-bit levels are
    scaled from their full range 0..65535.

    Raises:
        UserError: the file is missing, truncated, no image of a known format, or holds floats.
    """
    try:
        with opened(path) as image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # for a broken file, Pillow's readers raise nearly anything
        raise unreadable(path, error) from error
    return as_rgb(image, path)


def as_rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """A decoded picture as RGB uint8 [h w 3]; raises UserError if it cannot become that."""
    image.info.pop("transparency", None)  # otherwise Pillow warns about it in conversions
    if image.mode == "F" or (image.mode == "I" and not _fits_16_bit(image)):
        kind = "floats" if image.mode == "F" else "32-bit numbers"
        raise UserError(f"the image holds {kind}", path, "Save it with 8 or 16 bits per channel.")
    if image.mode.startswith("I"):
        return np.repeat(to_8_bits(np.asarray(image))[..., None], 3, axis=2)
    try:
        return np.array(image.convert("RGB"))
    except ValueError as error:
        raise UserError(f"the image cannot become RGB ({error})", path, "Save it as RGB.") from error


def to_8_bits(levels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Levels of 0..65535 as 0..255."""
    return ((levels.astype(np.int32) + 128) // 257).astype(np.uint8)


def unreadable(path: Path, error: Exception) -> UserError:
    """The error for a person when a file cannot be decoded."""
    if isinstance(error, FileNotFoundError):
        what = "the link leads nowhere" if path.is_symlink() else "there is no such file"
        return UserError(what, path, "Check the path.")
    if isinstance(error, Image.DecompressionBombError):
        return UserError("the image has more than 178 million pixels", path, "Cut it into tiles.")
    if isinstance(error, MemoryError):
        return UserError("there is too little memory to decode the image", path, "Free some, or cut it into tiles.")
    reason = getattr(error, "strerror", None) or str(error) or repr(error)
    reason = "it is no image of a known format" if isinstance(error, UnidentifiedImageError) else reason
    return UserError(f"the file cannot be read: {reason}", path, "Copy it again, save it as png, or remove it.")


def _fits_16_bit(image: Image.Image) -> bool:
    levels = np.asarray(image)
    return bool(levels.min() >= 0 and levels.max() <= 65535)
