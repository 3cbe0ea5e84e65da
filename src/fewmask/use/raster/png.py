"""Reads a PNG of any size from top to bottom.

The pixels of a PNG are one compressed stream of rows, in which a row may be stored as the difference to the row above.
The stream is decompressed in pieces. Each piece becomes a small PNG of its own, whose first row is the last row of the
piece before, and Pillow decodes it.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from fewmask.data.opening import regular_file
from fewmask.data.pixels import as_rgb, unreadable
from fewmask.errors import UserError
from fewmask.use.raster.source import SAVE_UPRIGHT, StreamedSource, is_turned, too_large

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_COLORS = {1: 0, 2: 4, 3: 2, 4: 6}
"""The kind of color with so many channels."""
_NOTES = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
"""The kinds of chunks that may say how the picture is turned."""
_BAND = 2**21
"""Bytes of a piece, as decompressed."""
_COPY_AGAIN = "Copy it again, save it as png, or remove it."


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    color: int
    compression: int
    filtering: int
    interlaced: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, with the byte that names its filter."""
        return 1 + (self.width * self.depth * _CHANNELS[self.color] + 7) // 8

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel, at least 1: a filter looks so many bytes to the left."""
        return max(1, self.depth * _CHANNELS[self.color] // 8)


@contextmanager
def png_source(path: Path) -> Iterator[StreamedSource]:
    """The picture of a PNG.

    Raises:
        NotInPiecesError: it is interlaced, turned, or has 16 bits in several channels.
        UserError: it is damaged; this may be found while it is read.
    """
    with regular_file(path) as file:
        file.seek(len(SIGNATURE))
        header, palette = _Header(0, 0, 0, 0, 0, 0, 0), b""
        for kind, content in _chunks(file, path):
            if kind == b"IHDR":
                header = _Header(*struct.unpack(">IIBBBBB", content))
            elif kind == b"PLTE":
                palette = chunk(kind, content)
            elif kind == b"IDAT":
                break
        if header.interlaced:
            raise too_large(path, header.width * header.height, "Save it without interlacing.")
        if header.pixel_bytes not in _COLORS:
            raise too_large(path, header.width * header.height, "Save it with 8 bits per channel.")
        if is_turned(_orientation(file, path)):
            raise too_large(path, header.width * header.height, SAVE_UPRIGHT)
        file.seek(len(SIGNATURE))
        yield StreamedSource(header.height, header.width, _bands(file, path, header, palette))


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG: its length, kind, content and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def _chunks(file: BinaryIO, path: Path) -> Iterator[tuple[bytes, bytes]]:
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind == b"IDAT":
            while length:
                part = file.read(min(length, 2**16))
                if not part:
                    break
                length -= len(part)
                yield kind, part
        else:
            yield kind, file.read(length)
        file.read(4)
        if kind == b"IEND":
            return
    raise UserError("the file cannot be read: it is cut off", path, _COPY_AGAIN)


def _orientation(file: BinaryIO, path: Path) -> int | None:
    """The orientation that Pillow finds in the chunks, some of which may lie behind the pixels."""
    file.seek(len(SIGNATURE))
    notes = b""
    while len(start := file.read(8)) == 8 and not start.endswith(b"IEND"):
        length, kind = struct.unpack(">I4s", start)
        if kind in _NOTES:
            notes += start + file.read(length + 4)
        else:
            file.seek(length + 4, os.SEEK_CUR)
    image = _decoded(_Header(1, 1, 8, 0, 0, 0, 0), notes, bytes(2), path)
    try:
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except Exception as error:  # for broken EXIF, Pillow's reader raises nearly anything
        raise unreadable(path, error) from None


def _bands(file: BinaryIO, path: Path, header: _Header, palette: bytes) -> Iterator[NDArray[np.uint8]]:
    left, above = header.height, b""
    for filtered in _pieces(file, path, header.row_bytes, max(1, _BAND // header.row_bytes)):
        rows = filtered[: left * header.row_bytes]
        if not rows:
            return
        plain = _unfiltered(above + rows, header, path)[1 if above else 0 :]
        above = b"\0" + plain[-1].tobytes()
        left -= len(plain)
        yield _rgb(plain, header, palette, path)
    if left:
        raise UserError("the file cannot be read: it is cut off", path, _COPY_AGAIN)


def _pieces(file: BinaryIO, path: Path, row_bytes: int, num_rows: int) -> Iterator[bytes]:
    """The decompressed stream in pieces of `num_rows` rows; the last piece has the rest."""
    stream, held = zlib.decompressobj(), bytearray()
    wanted = row_bytes * num_rows
    try:
        for kind, content in _chunks(file, path):
            if kind != b"IDAT":
                continue
            while content:
                held += stream.decompress(content, wanted - len(held))
                content = stream.unconsumed_tail
                if len(held) == wanted:
                    yield bytes(held)
                    held.clear()
            if stream.eof:
                break
        yield bytes(held[: len(held) // row_bytes * row_bytes])
    except zlib.error as error:
        raise UserError(f"the file cannot be read: {error}", path, _COPY_AGAIN) from None


def _unfiltered(rows: bytes, header: _Header, path: Path) -> NDArray[np.uint8]:
    """The bytes of each row without its filter: decoded as a PNG whose pixels have as many bytes, one a channel."""
    pixel = header.pixel_bytes
    length = header.row_bytes - 1
    plain = header._replace(width=length // pixel, height=len(rows) // header.row_bytes, depth=8, color=_COLORS[pixel])
    return np.asarray(_decoded(plain, b"", rows, path)).reshape(-1, length)


def _rgb(plain: NDArray[np.uint8], header: _Header, palette: bytes, path: Path) -> NDArray[np.uint8]:
    """The pixels of unfiltered rows."""
    rows = np.pad(plain, ((0, 0), (1, 0))).tobytes()  # 0 means that a row has no filter
    return as_rgb(_decoded(header._replace(height=len(plain)), palette, rows, path), path)


def _decoded(header: _Header, others: bytes, rows: bytes, path: Path) -> Image.Image:
    """The picture of a PNG with these other chunks, such as a palette, and these rows, as they were filtered."""
    parts = (chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), others, chunk(b"IDAT", zlib.compress(rows, 0)))
    content = BytesIO(b"".join((SIGNATURE, *parts, chunk(b"IEND", b""))))
    try:
        with Image.open(content, formats=("PNG",)) as image:
            image.load()
    except Exception as error:  # for a broken file, Pillow's reader raises nearly anything
        raise UserError(f"the file cannot be read: {error}", path, _COPY_AGAIN) from None
    return image
