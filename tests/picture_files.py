"""Small picture files for the tests that read images and masks."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.classes import Classes

RED_BLUE = np.array([[[250, 0, 0], [0, 0, 250]]], dtype=np.uint8)  # 1 x 2 pixels
PETS = Classes(names=("background", "cat", "dog"))


def save(path: Path, pixels: object, **options: Any) -> Path:
    """Saves an array or a picture, and returns its path."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    image.save(path, **options)
    return path


def gray(*rows: list[int]) -> NDArray[np.uint8]:
    """One channel of 8 bits."""
    return np.array(rows, dtype=np.uint8)


def write_png(path: Path, rows: list[bytes], width: int, depth: int, color_type: int) -> Path:
    """A PNG of a kind that Pillow reads but does not write: 16-bit colors, 2- and 4-bit gray."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return path
