"""A picture that is written from top to bottom, and appears under its name when it is whole."""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fewmask.run.atomic import part_name
from fewmask.use.raster.png import SIGNATURE, chunk

_LEVEL = 3
"""The level of zlib, 1 to 9. Level 6 takes twice as long for masks that are hardly smaller."""
_BUFFER = 2**20


class Look(NamedTuple):
    """What a picture holds: gray of 8 or 16 bits, a palette index, or RGB.

    Attributes:
        dtype: np.uint8 or np.uint16.
        channels: 1 or 3.
        palette: the color of each of 256 values [256 3] if the picture holds indices.
    """

    dtype: Any = np.uint8
    channels: int = 1
    palette: NDArray[np.uint8] | None = None


class Sink(Protocol):
    """A picture that grows by rows."""

    def write(self, rows: NDArray[Any]) -> None:
        """Adds rows [rows width], or [rows width 3], below those that were written."""


class _PngSink:
    """A PNG whose rows are compressed as they come."""

    def __init__(self, path: Path, height: int, width: int, look: Look) -> None:
        self._file = path.open("xb")  # x: a file or a link that is there is never followed
        self._look, self._compressor, self._held = look, zlib.compressobj(_LEVEL), bytearray()
        self._above = np.zeros((1, width, look.channels), np.uint8)
        color = 3 if look.palette is not None else 2 if look.channels == 3 else 0
        depth = 8 * np.dtype(look.dtype).itemsize
        self._file.write(SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)))
        if look.palette is not None:
            self._file.write(chunk(b"PLTE", look.palette.tobytes()))

    def write(self, rows: NDArray[Any]) -> None:
        """Adds rows; those of photographs are stored as differences to the row above, which compress better."""
        if self._look.channels == 3:
            below = np.concatenate([self._above, rows[:-1]])
            self._above = rows[-1:].copy()
            filtered, kind = (rows - below).reshape(len(rows), -1), 2
        else:
            filtered, kind = rows.astype(np.dtype(self._look.dtype).newbyteorder(">")), 0
            filtered = filtered.view(np.uint8).reshape(len(rows), -1)
        framed = np.empty((len(rows), 1 + filtered.shape[1]), np.uint8)
        framed[:, 0], framed[:, 1:] = kind, filtered
        self._held += self._compressor.compress(framed.data)
        if len(self._held) > _BUFFER:
            self._flush()

    def close(self) -> None:
        """Ends the file and brings it to the disk."""
        self._held += self._compressor.flush()
        self._flush()
        self._file.write(chunk(b"IEND", b""))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        """Closes the file as it is."""
        self._file.close()

    def _flush(self) -> None:
        self._file.write(chunk(b"IDAT", bytes(self._held)))
        self._held.clear()


class _GeoSink:
    """A GeoTIFF at the place of another picture."""

    def __init__(self, path: Path, height: int, width: int, look: Look, place: Any) -> None:
        from fewmask.use.raster.geo import geo_writer

        colors = (
            None if look.palette is None else {value: tuple(color) for value, color in enumerate(look.palette.tolist())}
        )
        path.open("xb").close()  # as above
        self._dataset = geo_writer(path, (height, width), look.channels, look.dtype, place, colors)
        self._top = 0

    def write(self, rows: NDArray[Any]) -> None:
        """Adds rows."""
        from rasterio.windows import Window

        window = Window(0, self._top, rows.shape[1], len(rows))
        self._dataset.write(np.moveaxis(rows, 2, 0) if rows.ndim == 3 else rows[None], window=window)
        self._top += len(rows)

    def close(self) -> None:
        """Ends the file."""
        self._dataset.close()

    def abandon(self) -> None:
        """Closes the file as it is."""
        self._dataset.close()


@contextmanager
def opened_sink(target: Path, height: int, width: int, look: Look, place: Any = None) -> Iterator[Sink]:
    """A picture at `target`: a PNG, or a GeoTIFF if it has a place. An error leaves what was there before.

    Raises:
        OSError: it cannot be written.
    """
    part = target.with_name(part_name())
    sink = _PngSink(part, height, width, look) if place is None else _GeoSink(part, height, width, look, place)
    try:
        yield sink
        sink.close()
        part.replace(target)
    except BaseException:
        sink.abandon()
        raise
    finally:
        part.unlink(missing_ok=True)
