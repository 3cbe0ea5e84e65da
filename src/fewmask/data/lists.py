"""Lists of images as projects publish them: each line names one image, by its name or file, alone or with its mask."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath

from fewmask.data.sample import Sample
from fewmask.errors import UserError, quoted

_FORM = "Write one image a line, by its name or its file."


def listed_names(path: Path, samples: Sequence[Sample], kind: str) -> list[str]:
    """The names of the samples that a text file lists.

    Args:
        path: a UTF-8 text with one image on each line, with or without folder and suffix. `#` starts a comment. In a
            line `image mask`, the first word counts.
        samples: the samples that may be listed.
        kind: what the samples are, as in "train image".

    Raises:
        UserError: the file is missing, not text or empty, or a line names none of the samples.
    """
    text = list_text(path)
    stripped = {number: re.split(r"(?:^|\s)#", line)[0].strip() for number, line in enumerate(text.split("\n"), 1)}
    lines = {number: line for number, line in stripped.items() if line}
    if not lines:
        raise UserError("the list of images is empty", path, _FORM)
    known = {text: sample.name for sample in samples for text in (sample.image.stem, sample.name)}
    names = {number: _name_in(line, known) for number, line in lines.items()}
    unknown = [number for number, name in names.items() if name is None]
    if unknown:
        first = lines[unknown[0]]
        what = f"line {unknown[0]}, {quoted(first)}, is no {kind}"
        more = f" (like {len(unknown) - 1} of the other {len(lines) - 1} lines)" if len(unknown) > 1 else ""
        nearest = difflib.get_close_matches(PureWindowsPath(first.split()[0]).stem, known, n=1, cutoff=0)
        raise UserError(what + more, path, f"Correct it (nearest: {nearest[0]}).")
    return [name for name in names.values() if name is not None]


def list_text(path: Path) -> str:
    """The text of a list.

    Raises:
        UserError: the file is missing or not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("the list of images is not UTF-8 text", path, _FORM) from None
    except OSError as error:
        raise UserError(f"the list of images cannot be read ({error.strerror})", path, _FORM) from None


def _name_in(line: str, known: Mapping[str, str]) -> str | None:
    """The known name that a line means: the whole line, because names may hold spaces, or else its first word."""
    for text in (line, line.split()[0]):
        path = PureWindowsPath(text)  # splits at / and at \
        for name in (path.name, path.stem):
            if name in known:
                return known[name]
    return None
