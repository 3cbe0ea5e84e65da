"""A picture that is read from top to bottom, and how a file becomes one."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.opening import opened
from fewmask.data.pixels import read_pixels, unreadable
from fewmask.errors import UserError

WHOLE = 2**24
"""A picture of up to so many pixels is decoded as a whole; it takes 48 MiB."""
_LARGEST = 2 * (Image.MAX_IMAGE_PIXELS or 0)
"""Pillow refuses to decode larger pictures."""
_WITHOUT_LIMIT = Lock()
"""Held while Pillow has no limit: of two threads at once, the second would put back that there is none."""
_GEO_KEYS = 34735
_NEEDS = "Install what reads it in pieces: pip install 'fewmask[slides]' for TIFF, 'fewmask[geo]' also for JPEG."


class Source(Protocol):
    """A picture as RGB rows.

    Attributes:
        height, width: the size in pixels of the upright picture.
        place: where the picture lies on the earth, as rasterio says it; None for a picture without a place.
    """

    height: int
    width: int
    place: Any

    def rows(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """The rows from `top` to `bottom` as [rows width 3]; a later call begins at the same row or further down."""


class WholeSource:
    """A picture that is in memory."""

    def __init__(self, pixels: NDArray[np.uint8], place: Any = None) -> None:
        self.pixels, self.place = pixels, place
        self.height, self.width = pixels.shape[:2]

    def rows(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """The rows from `top` to `bottom`."""
        return self.pixels[top:bottom]


class StreamedSource:
    """A picture of which a decoder gives bands, one below the other; only the rows still needed stay in memory."""

    def __init__(self, height: int, width: int, bands: Iterator[NDArray[np.uint8]], place: Any = None) -> None:
        self.height, self.width, self.place = height, width, place
        self._bands, self._top, self._held = bands, 0, np.empty((0, width, 3), np.uint8)

    def rows(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """The rows from `top` to `bottom`; rows above `top` are forgotten."""
        parts = [self._held[top - self._top :]]
        begin = self._top + len(self._held)
        end = begin
        while end < bottom:
            band = next(self._bands)
            end += len(band)
            parts.append(band[max(0, top - (end - len(band))) :])
        self._held = np.concatenate(parts) if len(parts) > 1 else parts[0]
        self._top = top
        return self._held[: bottom - top]


@contextmanager
def opened_source(path: Path) -> Iterator[Source]:
    """The picture of a file, decoded at once if it is small, and in pieces if it is large and its format allows that.

    Raises:
        UserError: the file cannot be read, or it is too large to be decoded at once and cannot be read in pieces.
    """
    try:
        kind, size, is_geo = _header(path)
    except UserError:
        raise
    except Exception as error:  # for a broken file, Pillow's readers raise nearly anything
        if path.suffix.lower() in {".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif"} and find_spec("tifffile"):
            kind, size, is_geo = "TIFF", WHOLE + 1, False  # a form of TIFF that Pillow does not know
        else:
            raise unreadable(path, error) from error
    if is_geo and find_spec("rasterio"):
        from fewmask.use.raster.geo import geo_source

        with geo_source(path) as source:
            yield source
    elif size <= WHOLE:
        yield WholeSource(read_pixels(path))
    elif kind == "PNG":
        from fewmask.use.raster.png import png_source

        with png_source(path) as source:
            yield source
    elif kind == "TIFF" and find_spec("tifffile"):
        from fewmask.use.raster.tiff import tiff_source

        with tiff_source(path) as source:
            yield source
    elif kind == "TIFF" and find_spec("rasterio"):
        from fewmask.use.raster.geo import geo_source

        with geo_source(path) as source:
            yield source
    elif size <= _LARGEST:
        yield WholeSource(read_pixels(path))
    elif kind in {"JPEG", "MPO"} and find_spec("rasterio"):
        from fewmask.use.raster.geo import geo_source

        with geo_source(path, "JPEG") as source:
            yield source
    else:
        raise too_large(path, size, _NEEDS if kind in {"TIFF", "JPEG", "MPO"} else "Save it as PNG or as a tiled TIFF.")


def too_large(path: Path, pixels: int, fix: str) -> UserError:
    """The error for a picture that is too large to be decoded at once."""
    return UserError(f"the image has {pixels / 1e6:.0f} million pixels, and is not read in pieces", path, fix)


def _header(path: Path) -> tuple[str, int, bool]:
    """Pillow's name of the format, the number of pixels, and whether the picture has a place on the earth."""
    with _WITHOUT_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # nothing is decoded here
        try:
            with opened(path) as image:
                tags = getattr(image, "tag_v2", {})
                return str(image.format), image.width * image.height, _GEO_KEYS in tags
        finally:
            Image.MAX_IMAGE_PIXELS = limit
