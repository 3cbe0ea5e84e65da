"""Files that are whole or as they were: written under another name, synced, renamed."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes the whole file or leaves the old one: temporary file, sync, rename."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_text`; raises OSError with the old file intact when the disk is full."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
