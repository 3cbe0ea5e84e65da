"""Says after a few steps how long the rest of a run takes, and again where steps become slower or faster."""

import time
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from fewmask.methods import Step
from fewmask.say import say
from fewmask.training.hooks.hook import Hook

if TYPE_CHECKING:
    from fewmask.training.trainer import Trainer

_UNTIMED = 2  # steps at the start of a phase, which set things up
_UNTIMED_ON_GPU = 5  # there, a step is recorded too
_FEWEST, _MOST = 3, 30  # steps that are timed
_SECONDS = 3.0  # of timing, after which `_FEWEST` steps are enough
_WORTH_A_LINE = 20.0  # seconds that are left
_OTHER = 1.25  # times as fast or as slow as was said


class Forecast(Hook):
    """Times a few steps of every phase of the run. Pauses do not count.

    Args:
        console: where the line is printed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase: object = None
        self._num_steps = 0
        self._start = 0.0
        self._said: float | None = None

    def on_pause(self, trainer: "Trainer", seconds: float) -> None:
        self._start += seconds

    def on_step(self, trainer: "Trainer", step: Step) -> None:
        phase = trainer.position.stage, trainer.phase
        if phase != self._phase:
            self._phase, self._num_steps = phase, 0
        self._num_steps += 1
        timed = self._num_steps - (_UNTIMED_ON_GPU if trainer.fabric.device.type == "cuda" else _UNTIMED)
        if timed == 0:
            self._start = _now(trainer)
        elif _FEWEST <= timed <= _MOST and (timed == _MOST or time.perf_counter() - self._start >= _SECONDS):
            self._num_steps = _MOST + _UNTIMED_ON_GPU  # this phase has been timed
            self._tell(trainer, (_now(trainer) - self._start) / timed)

    def _tell(self, trainer: "Trainer", seconds: float) -> None:
        left = trainer.training.steps - trainer.done
        is_as_said = self._said is not None and 1 / _OTHER < seconds / self._said < _OTHER
        if left * seconds < _WORTH_A_LINE or is_as_said:
            return
        changed = "" if self._said is None else f"Steps take {seconds / self._said:.1f} times as long now. "
        self._said = seconds
        later = " Later steps may take longer; a line says it then." if trainer.has_more_phases else ""
        say(
            self._console,
            f"{changed}{left} steps are left, about {duration(left * seconds)} of {_each(seconds)}.{later}",
        )


def duration(seconds: float) -> str:
    """Seconds as people say them: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def _each(seconds: float) -> str:
    return f"{seconds:.2g} s a step" if seconds >= 0.1 else f"{1000 * seconds:.0f} ms a step"


def _now(trainer: "Trainer") -> float:
    """The present moment, when the device has finished what it was given; this is the only wait of the hook."""
    if trainer.fabric.device.type == "cuda":
        torch.cuda.synchronize(trainer.fabric.device)
    return time.perf_counter()
