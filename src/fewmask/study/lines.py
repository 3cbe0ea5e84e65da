"""A CSV file that grows by whole lines: a killed process either adds its line or leaves the file as it was."""

import csv
import io
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from fewmask.errors import UserError


def whole_lines(path: Path) -> str:
    """The text of the file up to its last line break; empty if there is no file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UserError(f"the table cannot be read ({error.strerror})", path, "Name a CSV file.") from None
    return content[: content.rfind(b"\n") + 1].decode()


def append_line(path: Path, columns: Sequence[str], values: Sequence[object]) -> None:
    """Adds a line in one write that reaches the disk; in a new file, the header is written before it.

    Half a line, which a crash of the machine can leave, is cut off first. After the header is written, several
    processes may append to the file at the same time.

    Raises:
        UserError: the file cannot be written; its content stays as it was.
    """
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([values] if whole_lines(path) else [columns, values])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            _cut_half_line(file, path)
            _write_or_undo(file, text.getvalue().encode())
    except OSError as error:
        fix = "Make room, and run it again."
        raise UserError(f"the row could not be written ({error.strerror})", path, fix) from None


def _cut_half_line(file: FileIO, path: Path) -> None:
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.truncate(len(whole_lines(path).encode()))


def _write_or_undo(file: FileIO, line: bytes) -> None:
    before = file.seek(0, os.SEEK_END)
    try:
        if file.write(line) != len(line):
            raise OSError(0, "there is no room for the whole line")
        os.fsync(file.fileno())
    except OSError:
        file.truncate(before)
        raise
