"""Reads a file of a run as a whole, or raises an error that says in one line that the file is lost or damaged."""

import csv
import io
import pickle
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load
from torch import Tensor

from fewmask.data.opening import regular_file
from fewmask.errors import UserError, quoted

_ANEW = "Copy it again, or train anew with another --out."
_CORRECT = "Copy it again, or correct it."


class Table(NamedTuple):
    """What a CSV file holds, as text."""

    columns: list[str]
    rows: list[dict[str, str]]


def read_text(path: Path) -> str:
    """A UTF-8 text with any line ends; raises UserError if the file is lost or damaged."""
    if not path.exists():
        raise lost(path)
    try:
        return io.TextIOWrapper(io.BytesIO(read_bytes(path)), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise damaged(path, error) from None


def read_bytes(path: Path) -> bytes:
    """The whole file; raises UserError if it is lost or cannot be read. A pipe is not waited for."""
    try:
        with regular_file(path) as file:
            return file.read()
    except OSError as error:
        raise damaged(path, error) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; raises UserError if the file is lost or damaged."""
    try:
        return load(read_bytes(path))
    except UserError:
        raise
    except Exception as error:  # for a broken file, the reader raises nearly anything
        raise damaged(path, error) from None


def read_table(path: Path) -> Table:
    """A CSV file with a header line; empty if the file is empty. A last line that is only half written is left out.

    Raises:
        UserError: the file is lost or damaged, or a line has more or fewer cells than there are columns.
    """
    text = read_text(path)
    lines = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    try:
        rows = list(lines)
    except csv.Error as error:  # for example, a cell without an end
        raise damaged(path, error) from None
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise UserError(f"line {number} has more or fewer cells than the first", path, _CORRECT)
    return Table(list(lines.fieldnames or []), rows)


def table_text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of a CSV file, as `read_table` reads it; a value that a row lacks becomes an empty cell."""
    text = io.StringIO()
    if columns:
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return text.getvalue()


def number_in(row: Mapping[str, str], column: str, path: Path) -> float:
    """The number in a cell; raises UserError if the cell holds none."""
    try:
        return float(row[column])
    except KeyError:
        raise UserError(f"it has no column {column}", path, _CORRECT) from None
    except ValueError:
        raise UserError(
            f"the column {column} holds {quoted(row[column])}, which is no number", path, _CORRECT
        ) from None


def whole_number_in(row: Mapping[str, str], column: str, path: Path) -> int:
    """The whole number in a cell; raises UserError if the cell holds none."""
    number = number_in(row, column, path)
    if not number.is_integer():
        raise UserError(f"the column {column} holds {quoted(row[column])}, which is no whole number", path, _CORRECT)
    return int(number)


def set_aside(path: Path) -> Path:
    """Gives a damaged file or folder another name, which is returned, so that nothing is lost and a new one can begin.

    Raises:
        OSError: it cannot be renamed.
    """
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in count())
    aside = next(name for name in names if not name.exists())
    return path.rename(aside)


def lost(path: Path) -> UserError:
    """The error for a person when a file of a run is missing."""
    return UserError(f"the run has lost its {path.name}", path.parent, "Copy the folder again, or train anew.")


def damaged(path: Path, error: Exception) -> UserError:
    """The error for a person when a file of a run cannot be read."""
    if isinstance(error, PermissionError):
        return UserError(f"the file cannot be read ({error.strerror})", path, "Make it readable.")
    if isinstance(error, pickle.UnpicklingError):  # torch's text advises to run what the file holds
        return UserError("the file holds more than tensors, or is cut off, and is not opened", path, _ANEW)
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or "it is empty or cut off"
    return UserError(f"the file cannot be read ({reason})", path, _ANEW)
