"""A picture that is read from top to bottom, and how a file becomes one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

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
SAVE_UPRIGHT = "Save it upright: it is stored turned."
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


class NotInPiecesError(UserError):
    """A picture cannot be read in pieces; Pillow may still decode it at once."""


@contextmanager
def opened_source(path: Path) -> Iterator[Source]:
    """The picture of a file, decoded at once if it is small, and in pieces if it is large and its format allows that.

    Raises:
        UserError: the file cannot be read, or it is too large to be decoded at once and cannot be read in pieces.
    """
    with ExitStack() as stack:
        yield _source(path, stack)


def too_large(path: Path, pixels: int, fix: str) -> NotInPiecesError:
    """The error for a picture that is too large to be decoded at once."""
    return NotInPiecesError(f"the image has {pixels / 1e6:.0f} million pixels, and is not read in pieces", path, fix)


def is_turned(orientation: object) -> bool:
    """Whether the orientation of EXIF or TIFF says that the pixels are not stored upright."""
    return orientation in range(2, 9)


class _Header(NamedTuple):
    """What is known of a picture before it is decoded.

    Attributes:
        kind: Pillow's name of the format.
        pixels: their number.
        is_geo: whether the picture has a place on the earth.
        is_turned: whether the pixels are not stored upright.
    """

    kind: str
    pixels: int
    is_geo: bool
    is_turned: bool


def _source(path: Path, stack: ExitStack) -> Source:
    header = _header(path)
    if header.is_geo and find_spec("rasterio"):
        from fewmask.use.raster.geo import geo_source

        return stack.enter_context(geo_source(path))
    if header.pixels > WHOLE:
        try:
            return stack.enter_context(_in_pieces(path, header))
        except NotInPiecesError:
            if header.pixels > _LARGEST:
                raise
    return WholeSource(read_pixels(path))


def _in_pieces(path: Path, header: _Header) -> AbstractContextManager[Source]:
    """The picture of a file in pieces; this, or to enter it, raises NotInPiecesError if that is not possible."""
    kind, pixels = header.kind, header.pixels
    if header.is_turned:
        raise too_large(path, pixels, SAVE_UPRIGHT)
    if kind == "PNG":
        from fewmask.use.raster.png import png_source

        return png_source(path)
    if kind == "TIFF" and find_spec("tifffile"):
        from fewmask.use.raster.tiff import tiff_source

        return tiff_source(path)
    if find_spec("rasterio") and (kind == "TIFF" or (kind in {"JPEG", "MPO"} and pixels > _LARGEST)):
        from fewmask.use.raster.geo import geo_source

        return geo_source(path, "GTiff" if kind == "TIFF" else "JPEG")
    raise too_large(path, pixels, _NEEDS if kind in {"TIFF", "JPEG", "MPO"} else "Save it as PNG or as a tiled TIFF.")


def _header(path: Path) -> _Header:
    try:
        with _no_limit(), opened(path) as image:
            # This is Image.Image's own getexif: the method for PNG would decode all pixels to look behind them.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
            is_geo = _GEO_KEYS in getattr(image, "tag_v2", {})
            return _Header(str(image.format), image.width * image.height, is_geo, is_turned(orientation))
    except Exception as error:  # for a broken file, Pillow's readers raise nearly anything
        if path.suffix.lower() in {".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif"} and find_spec("tifffile"):
            return _Header("TIFF", _LARGEST + 1, False, False)  # a form of TIFF that Pillow does not know
        raise unreadable(path, error) from error


@contextmanager
def _no_limit() -> Iterator[None]:
    """Inside, where nothing is decoded, Pillow opens pictures of any size."""
    with _WITHOUT_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
