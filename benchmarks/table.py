"""A benchmark's CSV: rows are appended one by one, those that stand there are skipped, each says where it is from."""

import csv
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

ROOT = Path(__file__).parents[1]


class Table:
    """A CSV file of rows that are told apart by the columns `keys`."""

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        self.path, self.keys = path, tuple(keys)
        package = Path(fewmask.__file__).resolve().parent
        if not package.is_relative_to(ROOT):  # the rows would name a commit that they are not of
            raise SystemExit(f"fewmask comes from {package}, not from this checkout. Set PYTHONPATH={ROOT / 'src'}")

    def rows(self) -> list[dict[str, str]]:
        """What stands in the file, as text."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def holds(self, **key: Any) -> bool:
        """Whether there is a row of this key already."""
        return any(all(row[name] == str(key[name]) for name in self.keys) for row in self.rows())

    def append(self, row: Mapping[str, Any], precision: str = "auto") -> None:
        """Adds the row with its origin: command, commit, machine with what `training.precision` computes in, date."""
        full = {**row, **origin(precision)}
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(full), lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(full)


def origin(precision: str) -> dict[str, str]:
    """What a number came from."""
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    return {
        "command": shlex.join(["python", str(script), *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(precision),
        "date": datetime.now(UTC).date().isoformat(),
    }


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
    dtype = {"32": "float32", "bf16": "bfloat16"}[auto if precision == "auto" else precision]
    return f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {dtype}"


def percent(value: float | None) -> str:
    """0.4321 -> 43.21; empty where there is no value."""
    return "" if value is None else f"{100 * value:.2f}"
