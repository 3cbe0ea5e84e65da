"""A CSV of measurements that are no trained runs, and where a row comes from: command, commit, machine, date."""

import csv
import io
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fewmask
from fewmask.study.lines import append_line, whole_lines
from fewmask.study.results import Origin

ROOT = Path(__file__).parents[1]


class Table:
    """A CSV file of rows that are told apart by the columns `keys`; rows that stand there are not measured again."""

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        self.path, self.keys = path, tuple(keys)
        check_package()

    def rows(self) -> list[dict[str, str]]:
        """What stands in the file, as text."""
        return read_table(self.path)

    def holds(self, **key: Any) -> bool:
        """Whether there is a row of this key already."""
        return any(all(row[name] == str(key[name]) for name in self.keys) for row in self.rows())

    def append(self, row: Mapping[str, Any], precision: str = "auto") -> None:
        """Adds the row with its origin."""
        full = {**row, **origin(precision)._asdict()}
        append_line(self.path, list(full), list(full.values()))


def read_table(path: Path) -> list[dict[str, str]]:
    """The whole lines of a CSV file by its header, as text; none where there is no file."""
    return list(csv.DictReader(io.StringIO(whole_lines(path), newline="")))


def check_package() -> None:
    """Stops where fewmask comes from elsewhere: the rows would name a commit that they are not of."""
    package = Path(fewmask.__file__).resolve().parent
    if not package.is_relative_to(ROOT):
        raise SystemExit(f"fewmask comes from {package}, not from this checkout. Set PYTHONPATH={ROOT / 'src'}")


def origin(precision: str) -> Origin:
    """Where a number comes from; the machine with what `training.precision` computes in."""
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    command = shlex.join(["python", str(script), *sys.argv[1:]])
    return Origin(command, commit(), machine(precision), datetime.now(UTC).date().isoformat())


def commit() -> str:
    """The short hash of the checkout, with + where the package or the benchmarks differ from it."""
    describe = ["git", "-C", str(ROOT)]
    short = subprocess.run([*describe, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run(
        [*describe, "status", "--porcelain", "--", "src", "benchmarks/*.py"], capture_output=True, text=True, check=True
    )
    return short.stdout.strip() + ("+" if changed.stdout.strip() else "")


def machine(precision: str = "auto") -> str:
    """The GPU, or the processor with its cores and what it computes in."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    auto = "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "32"
    dtype = {"32": "float32", "bf16": "bfloat16", "16": "float16"}[auto if precision == "auto" else precision]
    return f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {dtype}"


def percent(value: float | None) -> str:
    """0.4321 -> 43.21; empty where there is no value."""
    return "" if value is None else f"{100 * value:.2f}"
