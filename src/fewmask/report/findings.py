"""The doctor's findings for the page: problems with one remedy stand together."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fewmask.data.doctor import Diagnosis, examine

_MOST_FILES = 6


class Finding(NamedTuple):
    """Problems with one remedy: their level, what was found in which files, and how many more there are."""

    level: str
    problems: list[tuple[str, str]]
    more: int
    fix: str


class Findings(NamedTuple):
    """What the doctor found, or why it was not asked."""

    examined: int | None
    findings: list[Finding]


def findings_of(root: Path) -> Findings:
    """Reads every file of the data set; takes as long as `fewmask doctor`."""
    diagnosis: Diagnosis = examine(root)
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for problem in diagnosis.problems:
        groups.setdefault((problem.level, problem.fix), []).append((problem.file, problem.text))
    return Findings(
        sum(diagnosis.num_images.values()),
        [
            Finding(level, _first(found), max(0, len(found) - _MOST_FILES), fix)
            for (level, fix), found in groups.items()
        ],
    )


def _first(found: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(found[:_MOST_FILES])
