"""A problem of a data set: how bad it is, in which file, what was found and what to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fewmask.errors import UserError

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file. `file` is relative to the dataset, and empty if the problem is the whole dataset."""

    level: Level
    file: str
    text: str
    fix: str


def as_problem(mistake: UserError, root: Path, level: Level = "error") -> Problem:
    """The mistake as a problem of the doctor's list."""
    return Problem(level, relative_to(root, Path(mistake.where)), mistake.what, mistake.fix)


def relative_to(root: Path, path: Path) -> str:
    """The path from `root`, such as `train/images/cat.jpg`, with forward slashes; empty for `root` itself."""
    if path == root:
        return ""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
