"""Opens a picture file: a regular file of a format that is meant, whatever its name says.

Pillow would try every format that it knows. One of them, EPS, starts another program on the file.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile

for _reader in ("Avif", "Bmp", "Gif", "Jpeg", "Jpeg2K", "Mpo", "Png", "Ppm", "Tiff", "WebP"):
    with suppress(ImportError):  # a Pillow that was built without it
        import_module(f"PIL.{_reader}ImagePlugin")

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "AVIF", "HEIF", "PPM")
"""The names of the formats in Pillow, which counts a camera's MPO as JPEG. Those that its build lacks are left out."""


@contextmanager
def opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """The picture of a file, of which only the header is read yet.

    Raises:
        OSError: there is no such file, it is a pipe or a device, or it is in none of the FORMATS.
        Exception: nearly any other, which Pillow's readers raise for a broken file.
    """
    known = [name for name in FORMATS if name in Image.OPEN]
    with regular_file(path) as file, Image.open(file, formats=known) as picture:
        yield picture


@contextmanager
def regular_file(path: Path) -> Iterator[BinaryIO]:
    """A file to be read as bytes; a pipe, which may never give a byte, is not waited for.

    Raises:
        OSError: there is no such file, or it is a pipe or a device.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, and not a file", str(path))
        yield file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has no such flag, and no pipes as files
