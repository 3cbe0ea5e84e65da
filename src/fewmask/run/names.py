"""labeled.txt, unlabeled.txt and source.txt: the names of the images of a run, one a line.

A file name may hold any character but a slash. A name that holds a line break, or that looks like a quoted one, stands
in quotes, as JSON writes it.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from fewmask.run.atomic import write_text
from fewmask.run.files import read_text


def read_names(path: Path) -> list[str]:
    """The names in the order of the file; raises UserError if the file is lost or damaged.

    An editor may have ended the lines as Windows does.
    """
    lines = read_text(path).split("\n")
    return [_name(line) for line in lines if line]


def write_names(path: Path, names: Iterable[str]) -> None:
    """Writes the names so that `read_names` returns them; raises OSError if the file cannot be written."""
    write_text(path, "".join(f"{_line(name)}\n" for name in names))


def _line(name: str) -> str:
    needs_quotes = "\n" in name or "\r" in name or name.startswith(('"', "\ufeff"))
    return json.dumps(name, ensure_ascii=False) if needs_quotes else name


def _name(line: str) -> str:
    if line.startswith('"'):
        try:
            return str(json.loads(line))
        except ValueError:  # a name that an old run wrote as it was
            return line
    return line
