"""The error for what a person did that cannot work: one line that says what, where, and what to do."""

import difflib
import os
import re
import reprlib
import shlex
import subprocess
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """A mistake in the user's data, recipe or command; the command line prints it and exits with code 2.

    Args:
        what: what was found, e.g. `mask cat_07.png holds value 23, but classes are 0-20 and 255 is ignored`.
        where: the file, key or flag in which it was found; if empty, the line leaves it out.
        fix: what to do, as an instruction.
    """

    def __init__(self, what: str, where: object = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, str(where), fix
        place = f"{_cut(self.where, _PATH)}: " if self.where else ""
        sentence = f"{_cut(what, _SENTENCE).rstrip('.')}."
        super().__init__(printable(f"{place}{sentence}" + (f" {_cut(fix, _ADVICE)}" if fix else "")))


_PATH, _SENTENCE, _ADVICE = 400, 600, 1500  # characters; an error is read by a person


def _cut(text: str, longest: int) -> str:
    """The text, or the two ends of a longer one."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"


_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, with which a terminal can be written to or told to do something
    "\u2028\u2029"  # line separators
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # these let text run the other way, and so look like another text
    "\u00ad\u200b\u2060\ufeff"  # these cannot be seen, and a name with one looks like a name without
    "\ud800-\udfff]"  # halves of characters, which stand for bytes that are no Unicode and cannot be printed
)


def printable(text: str) -> str:
    """The text on one line, with every character that could change how a terminal shows it written as an escape.

    Names of files and classes may come from strangers. `a\\nb` stands for a name with a line feed.
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class _Short(reprlib.Repr):
    """The text of a value, of which no more is read than is shown: it may be nested without an end."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 3, 80, 80, 40
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 8

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if abs(x) < 10**100 else "a number of more than 100 digits"


def quoted(value: object) -> str:
    """A value as it stands in a message: its text in Python, without its middle if it is long."""
    return _Short().repr(value)


def in_command(path: object) -> str:
    """A path as a word of a command that can be copied: quoted if the shell of the system needs it."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))


_REASONS = {
    "missing": "it has too few entries",
    "model_type": "it should be a block of settings",
    "path_type": "it should be a path",
    "string_too_short": "it should not be empty",
    "too_long": "it has too many entries",
    "tuple_type": "it should be a list",
}


def reason_of(mistake: Any) -> str:
    """What pydantic objects to in a value, for people who do not know Python: `it should be a list`."""
    message = str(mistake["msg"]).removeprefix("Value error, ").partition(", unable to")[0]
    return _REASONS.get(mistake["type"]) or message.replace("Input should", "it should", 1)


def one_line(error: Exception) -> str:
    """The text of a library's error on one line; the name that a YAML reader gives to the text is left out."""
    return " ".join(str(error).replace(' in "<unicode string>"', "").split())


def choices(word: str, known: Iterable[str]) -> str:
    """The known words as a readable list that ends with the nearest to `word`: `a, b, c (nearest: b)`."""
    names = list(known)
    nearest = difflib.get_close_matches(word[:_PATH], names, n=1, cutoff=0.5)
    return ", ".join(names) + (f" (nearest: {nearest[0]})" if nearest else "")
