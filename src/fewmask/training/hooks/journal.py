"""What a run says while it trains: progress bar, metrics.csv, TensorBoard events, and alarms."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

import torch
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text
from torch import Tensor

from fewmask.data.batch import Unlabeled
from fewmask.data.pool import PicturePool
from fewmask.run.checkpoint import cannot_write
from fewmask.run.folder import RunFolder
from fewmask.run.metrics import MetricsWriter
from fewmask.say import say
from fewmask.training.hooks.events import EventFile

_LOST = 0.02  # a class with less than this share of its labeled share has vanished from the pseudo-labels
_PATIENCE = 3  # log lines in a row before an alarm
_QUIET_SHARE = 0.1  # no alarms in the first part of a run: its pseudo-labels mean little


class Silence:
    """The journal of the other ranks of a run: the first one speaks and writes for all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def waited(self, seconds: float) -> None:
        """Not told."""

    def paused(self, seconds: float) -> None:
        """Not told."""

    def advance(self) -> None:
        """Not told."""

    def walk(self, pool: PicturePool) -> Iterator[Unlabeled]:
        """The images of the pool."""
        yield from pool

    def write(self, step: int, losses: Mapping[str, Tensor], watch: Mapping[str, Tensor], rate: float) -> None:
        """Not told."""


class Journal(Silence):
    """The log of one process; a context, so that the bar is closed however the run ends.

    Args:
        run: where metrics.csv and the events go.
        class_names: names for values per class.
        total: steps of the whole run.
        first: steps already done; later lines of an interrupted run are dropped.
        alarm_excess: pseudo-label share over labeled share that raises an alarm.
        console: where a person reads.

    Raises:
        UserError: a file cannot be written, here or later.
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
        self._run, self._class_names, self._total = run, class_names, total
        self._alarm_excess, self._console = alarm_excess, console
        try:
            self._metrics = MetricsWriter(run, first)
        except OSError as error:
            raise cannot_write(run, "the log", error) from None
        self._events = EventFile(run.path, first)
        self._strikes: dict[str, int] = {}
        self._progress = _Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=total, completed=first)
        self._last = (time.perf_counter(), first)
        self._waited = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def waited(self, seconds: float) -> None:
        """Adds time that a step waited for data."""
        self._waited += seconds

    def paused(self, seconds: float) -> None:
        """Leaves out time in which no step was taken."""
        self._last = (self._last[0] + seconds, self._last[1])

    def advance(self) -> None:
        """One step is done."""
        self._progress.advance(self._task)

    def walk(self, pool: PicturePool) -> Iterator[Unlabeled]:
        """The images of the pool, under a bar of their own."""
        task = self._progress.add_task("labeling the pool", total=len(pool))
        try:
            for images in pool:
                yield images
                self._progress.advance(task)
        finally:
            self._progress.remove_task(task)

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
        try:
            self._metrics.append(step, values)
            self._events.write(step, values)
        except OSError as error:
            raise cannot_write(self._run, "the log", error) from None
        terms = " ".join(f"{name} {value.item():.3f}" for name, value in losses.items())
        note = f"{terms} | {values['steps_per_second']:.2f} steps/s | {values['memory_gib']:.1f} GiB"
        self._progress.note = note
        if not self._console.is_terminal and step * 20 // self._total != (step - steps) * 20 // self._total:
            say(self._console, f"step {step}/{self._total} | {note}")
        if "pseudo_excess" in watch:
            self._watch_classes(step, watch["pseudo_excess"].tolist())

    def _watch_classes(self, step: int, excess: Sequence[float]) -> None:
        """Says once when a class runs away or vanishes among the pseudo-labels for several lines in a row."""
        if step < _QUIET_SHARE * self._total:
            return
        for name, value in zip(self._class_names, excess, strict=True):
            strange = value > self._alarm_excess or value < _LOST
            self._strikes[name] = self._strikes.get(name, 0) + 1 if strange else 0
            if self._strikes[name] == _PATIENCE:
                what = f"takes {value:.1f} times" if value > 1 else f"has shrunk to {value:.3f} of"
                text = (
                    f"Alarm at step {step}: class {name} {what} its labeled share among the pseudo-labels. "
                    "Look at predictions, and compare with --baseline."
                )
                say(self._console, text, style="yellow")


class _Bar(Progress):
    """The bar, and under it a note that leaves it its room."""

    note = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.note)


def peak_memory() -> int:
    """Bytes: the device's peak where there is a GPU, otherwise the peak of this process; 0 where Windows tells none."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
