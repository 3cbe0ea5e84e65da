"""What a run says while it trains: progress bar, metrics.csv, TensorBoard events, and alarms."""

import csv
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Self, TextIO

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fewmask.engine.run_folder import RunFolder, write_text

_LOST = 0.02  # a class with less than this share of its labeled share has vanished from the pseudo-labels
_PATIENCE = 3  # log lines in a row before an alarm
_QUIET_SHARE = 0.1  # no alarms in the first part of a run: its pseudo-labels mean little


class Journal:
    """The log of one process; a context, so that the bar is closed and files are flushed however the run ends.

    Args:
        run: where metrics.csv and the events go.
        class_names: names for values per class.
        total: steps of the whole run.
        first: steps already done; later lines of an interrupted run are dropped.
        alarm_excess: pseudo-label share over labeled share that raises an alarm.
        console: where a person reads.
    """

    def __init__(
        self,
        run: RunFolder,
        class_names: Sequence[str],
        total: int,
        first: int,
        alarm_excess: float,
        console: Console,
    ) -> None:
        self._class_names, self._total, self._alarm_excess, self._console = class_names, total, alarm_excess, console
        self._columns = _drop_lines_after(run, first)
        self._file: TextIO = run.metrics_file.open("a", newline="")
        self._events = SummaryWriter(str(run.path), purge_step=first)
        self._strikes: dict[str, int] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=total, completed=first, note="")
        self._last = (time.perf_counter(), first)
        self._waited = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._file.close()
        self._events.close()

    def waited(self, seconds: float) -> None:
        """Adds time that a step waited for data."""
        self._waited += seconds

    def advance(self) -> None:
        """One step is done."""
        self._progress.advance(self._task)

    def write(self, step: int, losses: Mapping[str, Tensor], watch: Mapping[str, Tensor], rate: float) -> None:
        """One line after `step` steps; the only place where a run waits for the device."""
        now = time.perf_counter()
        seconds, steps = now - self._last[0], max(step - self._last[1], 1)
        values = {f"loss/{name}": value.item() for name, value in losses.items()}
        values["learning_rate"] = rate
        for name, value in watch.items():
            if value.ndim == 0:
                values[name] = float(value)
            else:
                values |= {
                    f"{name}/{label}": x for label, x in zip(self._class_names, value.float().tolist(), strict=True)
                }
        values["steps_per_second"] = steps / seconds
        values["data_share"] = self._waited / seconds
        values["memory_gib"] = peak_memory() / 2**30
        self._last, self._waited = (now, step), 0.0
        self._append(step, values)
        for name, number in values.items():
            self._events.add_scalar(name, number, step)
        terms = " ".join(f"{name} {value.item():.3f}" for name, value in losses.items())
        note = f"{terms} | {values['steps_per_second']:.2f} steps/s | {values['memory_gib']:.1f} GiB"
        self._progress.update(self._task, note=note)
        if not self._console.is_terminal and step * 20 // self._total != (step - steps) * 20 // self._total:
            self._console.print(f"step {step}/{self._total} | {note}")
        if "pseudo_excess" in watch:
            self._watch_classes(step, watch["pseudo_excess"].tolist())

    def _append(self, step: int, values: Mapping[str, float]) -> None:
        row = {"step": step} | {name: f"{value:.6g}" for name, value in values.items()}
        if self._columns is None or not set(row) <= set(self._columns):
            # A new curve, e.g. a term that starts after the warm-up: the table is written again with its column.
            path = self._file.name
            self._file.close()
            with open(path, newline="") as old:  # noqa: PTH123
                lines = list(csv.DictReader(old))
            self._columns = [*(self._columns or []), *(name for name in row if name not in (self._columns or []))]
            self._file = open(path, "w", newline="")  # noqa: PTH123, SIM115
            table = csv.DictWriter(self._file, self._columns)
            table.writeheader()
            table.writerows(lines)
        csv.DictWriter(self._file, self._columns).writerow(row)
        self._file.flush()

    def _watch_classes(self, step: int, excess: Sequence[float]) -> None:
        """Says once when a class runs away or vanishes among the pseudo-labels for several lines in a row."""
        if step < _QUIET_SHARE * self._total:
            return
        for name, value in zip(self._class_names, excess, strict=True):
            strange = value > self._alarm_excess or value < _LOST
            self._strikes[name] = self._strikes.get(name, 0) + 1 if strange else 0
            if self._strikes[name] == _PATIENCE:
                what = f"takes {value:.1f} times" if value > 1 else f"has shrunk to {value:.3f} of"
                self._console.print(
                    f"[yellow]Alarm at step {step}: class {name} {what} its labeled share among the pseudo-labels. "
                    "Look at predictions, and compare with --baseline."
                )


def peak_memory() -> int:
    """Bytes: the device's peak where there is a GPU, otherwise the peak of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _drop_lines_after(run: RunFolder, step: int) -> list[str] | None:
    """Cuts metrics.csv to the steps that the checkpoint holds; the columns, or None without a file."""
    if not run.metrics_file.exists():
        return None
    with run.metrics_file.open(newline="") as file:
        header, *lines = [line for line in file if line.strip()] or [""]
    kept = [line for line in lines if line.endswith("\n") and int(line.split(",")[0]) <= step]
    write_text(run.metrics_file, "".join([header, *kept]))
    return header.strip().split(",") if header.strip() else None
