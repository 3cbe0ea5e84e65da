"""Reads one image file into a tensor: every bit depth and mode, the right way up, and clear errors."""

from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from PIL import ExifTags, Image, ImageOps

from fewmask.data.opening import opened
from fewmask.data.pixels import read_pixels, unreadable
from fewmask.shapes import ByteImage

GRAY_STEPS = {"L;2": 85, "L;4": 17}  # Pillow stretches 2- and 4-bit gray to 0..255 by this factor
PHOTOMETRIC, MIN_IS_WHITE = 262, 0  # a tag of TIFF, and its value where 0 is white


class Loaded(NamedTuple):
    """A decoded, upright picture, and what only its file tells of it.

    Attributes:
        gray_step: the factor by which Pillow stretched 2- and 4-bit gray levels.
        min_is_white: whether Pillow turned gray levels around, because the header says that 0 is white.
        orientation: of the picture in the file, 1 to 8 as in EXIF; 1 is upright.
    """

    picture: Image.Image
    gray_step: int
    min_is_white: bool
    orientation: int


def read_image(path: Path) -> ByteImage:
    """The picture as RGB [3 h w], turned upright by its EXIF orientation.

    Gray is repeated in all channels, transparency is dropped, and palette colors are looked up. 16-bit levels are
    scaled from their full range 0..65535.

    Raises:
        UserError: the file is missing, truncated, not an image, or holds floats.
    """
    return rearrange(torch.from_numpy(read_pixels(path)), "h w c -> c h w").contiguous()


def read_size(path: Path) -> tuple[int, int]:
    """Height and width of the upright picture, from the file's header alone."""
    try:
        with opened(path) as image:
            width, height = image.size
            # This is Image.Image's own getexif: the method for PNG would decode all pixels to look behind them.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
            is_upright = image.format == "TIFF" or orientation < 5  # Pillow turns the size of a TIFF itself
    except Exception as error:
        raise unreadable(path, error) from error
    return (height, width) if is_upright else (width, height)


def num_pictures(path: Path) -> int:
    """How many pictures, pages or frames a file holds; only the first is read. A camera's preview does not count."""
    try:
        with opened(path) as image:
            return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except Exception as error:
        raise unreadable(path, error) from error


def load(path: Path, page: int = 0) -> Loaded:
    """Decodes one picture of a file and turns it upright.

    Raises:
        UserError: the file is missing, truncated, or not an image.
    """
    try:
        with opened(path) as image:
            if page:
                image.seek(page)
            tile_args = image.tile[0].args if image.tile else None
            raw_mode = str(tile_args[0] if isinstance(tile_args, tuple | list) else tile_args)
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            tags = getattr(image, "tag_v2", {})  # Pillow turns gray of 8 bits and fewer around, and leaves 16 bits
            turned = image.mode in {"1", "L"} and tags.get(PHOTOMETRIC) == MIN_IS_WHITE
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # for a broken file, Pillow's readers raise nearly anything
        raise unreadable(path, error) from error
    return Loaded(image, GRAY_STEPS.get(raw_mode.removesuffix("I"), 1), turned, orientation)
