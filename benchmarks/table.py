"""A CSV of measurements other than trained runs, and the origin of a row: command, commit, machine, date."""

import csv
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fewmask
from fewmask.study.lines import append_line, whole_lines
from fewmask.study.origin import machine
from fewmask.study.results import Origin

ROOT = Path(__file__).parents[1]


class Table:
    """A CSV file of rows that the columns `keys` tell apart; rows that the file holds are not measured again."""

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        self.path, self.keys = path, tuple(keys)
        check_package()

    def rows(self) -> list[dict[str, str]]:
        """All rows of the file, as text."""
        return read_table(self.path)

    def holds(self, **key: Any) -> bool:
        """Whether the file holds a row with this key."""
        return any(all(row[name] == str(key[name]) for name in self.keys) for row in self.rows())

    def append(self, row: Mapping[str, Any], precision: str = "auto") -> None:
        """Adds the row with its origin to the file."""
        full = {**row, **origin(precision)._asdict()}
        append_line(self.path, list(full), list(full.values()))


def read_table(path: Path) -> list[dict[str, str]]:
    """The whole lines of a CSV file by its header, as text; empty if there is no file."""
    return list(csv.DictReader(io.StringIO(whole_lines(path), newline="")))


def check_package() -> None:
    """Ends the script if fewmask comes from elsewhere, because the rows would then name a wrong commit."""
    package = Path(fewmask.__file__).resolve().parent
    if not package.is_relative_to(ROOT):
        raise SystemExit(f"fewmask comes from {package}, not from this checkout. Set PYTHONPATH={ROOT / 'src'}")


def origin(precision: str) -> Origin:
    """The origin of a number; the machine is named with the precision that `training.precision` computes in."""
    return Origin(command(), commit(), machine(precision), datetime.now(UTC).date().isoformat())


def command() -> str:
    """The command of this process."""
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    return shlex.join(["python", str(script), *sys.argv[1:]])


def commit() -> str:
    """The short hash of the checkout, with + if the package or the benchmarks differ from the commit.

    On a machine without the history, the environment's BENCHMARK_COMMIT says it.
    """
    if known := os.environ.get("BENCHMARK_COMMIT"):
        return known
    describe = ["git", "-C", str(ROOT)]
    short = subprocess.run([*describe, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run(
        [*describe, "status", "--porcelain", "--", "src", "benchmarks/*.py"], capture_output=True, text=True, check=True
    )
    return short.stdout.strip() + ("+" if changed.stdout.strip() else "")


def percent(value: float | None) -> str:
    """0.4321 becomes 43.21; None becomes empty."""
    return "" if value is None else f"{100 * value:.2f}"
