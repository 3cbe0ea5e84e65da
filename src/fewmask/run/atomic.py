"""Writes files so that they are new and whole, or unchanged: under another name, synced, then renamed."""

import os
import secrets
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes the whole file or leaves the old one as it was: temporary file, sync, rename.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes as `write_text` writes text; raises OSError and keeps the old file if the disk is full."""
    temporary = path.with_name(part_name())
    try:
        with temporary.open("xb") as file:  # x: a file or a link that is there is never followed
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def part_name() -> str:
    """A hidden name for a file or folder that is not whole yet: short, and no other process has the same."""
    return f".{secrets.token_hex(8)}.part"


def is_part(path: Path) -> bool:
    """Whether a file or folder was left by a process that was killed while it wrote."""
    return path.name.startswith(".") and path.name.endswith(".part")
