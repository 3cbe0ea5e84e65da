"""What a run reports while it trains: progress bar, metrics.csv and TensorBoard events."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from torch import Tensor

from fewmask.run.checkpoint import cannot_write
from fewmask.run.folder import RunFolder
from fewmask.run.metrics import MetricsWriter
from fewmask.say import say, shows_bars
from fewmask.training.hooks.events import EventFile
from fewmask.training.hooks.finite import check_finite
from fewmask.training.hooks.forecast import duration
from fewmask.training.hooks.hook import Hook

if TYPE_CHECKING:
    from fewmask.methods import Step
    from fewmask.training.trainer import Trainer


class Journal(Hook):
    """The log of a run; rank 0 prints and writes for all ranks.

    Args:
        run: the run that metrics.csv and the events belong to.
        class_names: the names for values per class.
        total: steps of the whole run.
        first: steps already done; lines of later steps, which an interrupted run has left, are dropped.
        console: where the progress bar is shown.

    Raises:
        UserError: a file cannot be written, now or later.
    """

    def __init__(
        self,
        run: RunFolder,
        class_names: Sequence[str],
        total: int,
        first: int,
        console: Console,
    ) -> None:
        self._run, self._class_names, self._total = run, class_names, total
        self._console = console
        try:
            self._metrics = MetricsWriter(run, first, lambda text: say(console, text, "yellow"))
        except OSError as error:
            raise cannot_write(run, "the log", error) from None
        self._events = EventFile(run.path, first)
        self._progress = _Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not shows_bars(console),
        )
        self._task = self._progress.add_task("training", total=total, completed=first)
        self._walk: TaskID | None = None
        self._last = (time.perf_counter(), first)
        self._waited = 0.0

    def on_start(self, trainer: "Trainer") -> None:
        self._progress.start()

    def on_walk(self, trainer: "Trainer", done: int, total: int) -> None:
        if self._walk is None:
            self._walk = self._progress.add_task("labeling the pool", total=total)
        self._progress.update(self._walk, completed=done)
        if done == total:
            self._progress.remove_task(self._walk)
            self._walk = None

    def on_step(self, trainer: "Trainer", step: "Step") -> None:
        self._progress.advance(self._task)
        self._waited += trainer.waited
        if trainer.logs:
            check_finite(trainer.checked(step.losses), None, trainer.done, self._run)
            self.write(trainer.done, step.losses, step.watch, trainer.rate)

    def on_pause(self, trainer: "Trainer", seconds: float) -> None:
        self._last = (self._last[0] + seconds, self._last[1])

    def on_end(self, trainer: "Trainer") -> None:
        self._progress.refresh()  # a notebook keeps what was shown last
        self._progress.stop()

    def write(self, step: int, losses: Mapping[str, Tensor], watch: Mapping[str, Tensor], rate: float) -> None:
        """Writes one line after `step` steps; this is the only place where a run waits for the device."""
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
        if not shows_bars(self._console) and step * 20 // self._total != (step - steps) * 20 // self._total:
            left = duration((self._total - step) / values["steps_per_second"])
            say(self._console, f"step {step}/{self._total} | {note} | {left} left")


class _Bar(Progress):
    """The progress bar, with a note below it so that the bar keeps its width."""

    note = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.note)


def peak_memory() -> int:
    """The peak in bytes: of the GPU's memory if there is a GPU, else of this process; 0 on Windows without a GPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
