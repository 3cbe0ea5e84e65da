"""What happens around the steps of a training: a hook is told when, and the loop knows none of them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fewmask.methods import Step
    from fewmask.training.trainer import Trainer


class Hook:
    """Every call may be left out; hooks are called in the order in which the trainer got them."""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first step of this process; `trainer.position` says how far the run is."""

    def on_stage_begin(self, trainer: Trainer) -> None:
        """Before the first step of a stage, once the method has begun it."""

    def on_walk(self, trainer: Trainer, done: int, total: int) -> None:
        """While a method walks the pool before a stage: `done` of its `total` images are behind."""

    def on_step(self, trainer: Trainer, step: Step) -> None:
        """After every step; `trainer.position` counts it already."""

    def on_pause(self, trainer: Trainer, seconds: float) -> None:
        """After so many seconds in which no step was taken."""

    def on_stage_end(self, trainer: Trainer) -> None:
        """After the last step of a stage; `trainer.position` is at the start of the next one."""

    def on_end(self, trainer: Trainer) -> None:
        """At the end of the loop, however it came."""
