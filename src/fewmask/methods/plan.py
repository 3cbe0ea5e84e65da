"""When a step is: the stages of a run, the phases of a stage, and the moment that a method is told."""

import math
from typing import NamedTuple

from jaxtyping import Int64
from torch import Tensor

from fewmask.shapes import Scalar


class Stage(NamedTuple):
    """A part of a run with its own schedule: `share` of the run's steps, from `rate` times its learning rate on.

    What a stage that `pretrains` has made of the student is kept as weights to start other runs from.
    """

    name: str
    share: float
    rate: float = 1.0
    pretrains: bool = False


class Now(NamedTuple):
    """Where in a stage a step is.

    `step`, `steps`, `stage` and `phase` are for Python, which may branch on the stage and the phase alone. Arithmetic
    takes `progress` and `steps_done`, tensors on the device of the method: no number of Python changes from step to
    step.

    Attributes:
        step: steps of the stage that are done, 0..steps-1.
        steps: those of the whole stage.
        stage: its name.
        phase: how many of the boundaries that `Method.phases` names are behind.
        progress: step / steps, in [0, 1); float64, float32 on a device that has no float64.
    """

    step: int
    steps: int
    stage: str
    phase: int
    progress: Scalar

    @property
    def steps_done(self) -> Int64[Tensor, ""]:
        """The step as a tensor."""
        return (self.progress * self.steps).round().long()


def first_step(share: float, steps: int) -> int:
    """The first of `steps` steps at which this share of them is done: the smallest step with step / steps >= share."""
    step = max(0, math.ceil(share * steps) - 1)  # a product is rounded, so the next line decides
    while step / steps < share:
        step += 1
    return step
