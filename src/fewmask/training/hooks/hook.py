"""The interface of a hook, which is called around the steps of a training; the loop knows no hook by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fewmask.methods import Step
    from fewmask.training.trainer import Trainer


class Hook:
    """A hook may leave out any of these calls. Hooks are called in the order in which the trainer got them."""

    def on_start(self, trainer: Trainer) -> None:
        """Is called before the first step of this process; `trainer.position` says how far the run is."""

    def on_stage_begin(self, trainer: Trainer) -> None:
        """Is called before the first step of a stage, after the method has begun the stage."""

    def on_walk(self, trainer: Trainer, done: int, total: int) -> None:
        """Is called while a method walks the pool before a stage: `done` of `total` images have been seen."""

    def on_step(self, trainer: Trainer, step: Step) -> None:
        """Is called after every step; `trainer.position` counts this step already."""

    def on_pause(self, trainer: Trainer, seconds: float) -> None:
        """Is called after a pause of so many seconds, in which no step was taken."""

    def on_stage_end(self, trainer: Trainer) -> None:
        """Is called after the last step of a stage; `trainer.position` is at the start of the next stage."""

    def on_end(self, trainer: Trainer) -> None:
        """Is called at the end of the loop, also if an error ended the loop."""
