"""Alarms watch curves that a method names, and print a line for each class that leaves their bounds for long."""

from typing import TYPE_CHECKING

from rich.console import Console

from fewmask.methods import Alarm, Step
from fewmask.say import say
from fewmask.training.hooks.hook import Hook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewmask.training.trainer import Trainer

_PATIENCE = 3  # number of log lines in a row before an alarm
_QUIET_SHARE = 0.1  # no alarms in this first share of a run, because its pseudo-labels mean little


class Alarms(Hook):
    """Prints an alarm once when a class stays out of an alarm's bounds for several log lines in a row."""

    def __init__(self, class_names: "Sequence[str]", console: Console) -> None:
        self._class_names, self._console = class_names, console
        self._strikes: dict[tuple[str, str], int] = {}

    def on_step(self, trainer: "Trainer", step: Step) -> None:
        if trainer.logs and trainer.done >= _QUIET_SHARE * trainer.training.steps:
            for alarm in trainer.method.alarms():
                if alarm.curve in step.watch:
                    self.watch(trainer.done, alarm, step.watch[alarm.curve].tolist())

    def watch(self, done: int, alarm: Alarm, values: "Sequence[float]") -> None:
        """Counts each class's log lines in a row out of bounds; `values` are the classes' own after `done` steps."""
        for name, value in zip(self._class_names, values, strict=True):
            place = alarm.curve, name
            is_out = not alarm.low <= value <= alarm.high
            self._strikes[place] = self._strikes.get(place, 0) + 1 if is_out else 0
            if self._strikes[place] == _PATIENCE:
                sentence = (alarm.above if value > alarm.high else alarm.below).format(name=name, value=value)
                advice = "Look at predictions, and compare with --baseline."
                say(self._console, f"Alarm at step {done}: {sentence}. {advice}", style="yellow")
