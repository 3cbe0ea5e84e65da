"""Writes files so that they are new and whole, or unchanged: under another name, synced, then renamed."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes the whole file or leaves the old one as it was: temporary file, sync, rename.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes as `write_text` writes text; raises OSError and keeps the old file if the disk is full."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
