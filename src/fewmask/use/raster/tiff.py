"""Reads a TIFF of any size from top to bottom through tifffile: whole slides, OME-TIFF and other tiled files.

Of a file with several resolutions the finest is read, and of a file with several pictures the first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewmask.data.opening import regular_file
from fewmask.data.pixels import to_8_bits, unreadable
from fewmask.use.raster.source import SAVE_UPRIGHT, WHOLE, NotInPiecesError, StreamedSource, is_turned, too_large

_RGB_KINDS = {"RGB", "YCBCR"}
_GRAY_KINDS = {"MINISBLACK", "MINISWHITE"}
_SEPARATE = 2
_ORIENTATION = 274


@contextmanager
def tiff_source(path: Path) -> Iterator[StreamedSource]:
    """The picture of a TIFF.

    Raises:
        NotInPiecesError: its levels are no 8- or 16-bit gray or RGB, or it is turned, compressed, or laid out in a way
            that is not read here.
        UserError: the file cannot be read.
    """
    import tifffile

    with regular_file(path) as file:
        try:
            with tifffile.TiffFile(file) as tiff:
                page = tiff.pages[0]
                _check(page, path)
                yield StreamedSource(page.imagelength, page.imagewidth, _bands(page, path))
        except (tifffile.TiffFileError, ValueError, KeyError, IndexError) as error:
            raise unreadable(path, error) from None


def _check(page: Any, path: Path) -> None:
    kind = page.photometric.name
    if page.dtype not in (np.uint8, np.uint16) or kind not in _RGB_KINDS | _GRAY_KINDS or page.imagedepth > 1:
        what = f"the picture is {kind.lower()} with {page.dtype} levels"
        raise NotInPiecesError(what, path, "Save it as gray or RGB with 8 or 16 bits per channel.")
    if page.planarconfig == _SEPARATE and page.samplesperpixel > 1:
        fix = "Save it with the channels of a pixel side by side."
        raise NotInPiecesError("each channel is stored apart", path, fix)
    if is_turned(page.tags.valueof(_ORIENTATION)):
        raise too_large(path, page.imagelength * page.imagewidth, SAVE_UPRIGHT)
    try:
        page.decode(None, 0)
    except (ValueError, NotImplementedError) as error:
        fix = "Save it without compression, or install what may read it: pip install 'fewmask[slides]'."
        raise NotInPiecesError(f"the file cannot be read in pieces: {error}", path, fix) from None
    block = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    width = page.tilewidth if page.is_tiled else page.imagewidth
    if block * width > 4 * WHOLE:
        raise too_large(path, page.imagelength * page.imagewidth, "Save it in tiles: it is one large strip.")


def _bands(page: Any, path: Path) -> Iterator[NDArray[np.uint8]]:
    """Rows of tiles, or strips, as RGB."""
    length, width = page.imagelength, page.imagewidth
    height = page.tilelength if page.is_tiled else min(page.rowsperstrip, length)
    across = -(-width // page.tilewidth) if page.is_tiled else 1
    tables = page.jpegtables
    for row in range(-(-length // height)):
        band = np.zeros((min(height, length - row * height), width, page.samplesperpixel), page.dtype)
        for column in range(across):
            index = row * across + column
            data = _segment(page, index)
            try:
                tile, place, shape = page.decode(data, index, jpegtables=tables)
            except Exception as error:  # a broken segment raises nearly anything
                raise unreadable(path, error) from None
            if tile is not None:  # an empty tile is not stored
                left = place[3]  # after the sample, the depth and the row
                part = band[:, left : left + shape[2]]
                part[...] = tile[0, : part.shape[0], : part.shape[1]]
        zero_is_white = page.photometric.name == "MINISWHITE" and band.dtype == np.uint8  # Pillow leaves 16 bits
        yield _rgb(band, zero_is_white)


def _segment(page: Any, index: int) -> bytes | None:
    count = page.databytecounts[index]
    if not count:
        return None
    page.parent.filehandle.seek(page.dataoffsets[index])
    found: bytes = page.parent.filehandle.read(count)
    return found


def _rgb(band: NDArray[Any], zero_is_white: bool) -> NDArray[np.uint8]:
    levels = band if band.dtype == np.uint8 else to_8_bits(band)
    if band.shape[2] < 3:
        gray = 255 - levels[..., :1] if zero_is_white else levels[..., :1]
        return np.repeat(gray, 3, axis=2)
    return np.ascontiguousarray(levels[..., :3])
