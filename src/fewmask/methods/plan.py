"""The plan of a run: its stages, the phases of a stage, and the moment of a step."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from fewmask.shapes import Scalar


class Stage(NamedTuple):
    """A part of a run with its own schedule: `share` of the run's steps, starting at `rate` times its learning rate.

    The student that a stage with `pretrains` has trained is kept as weights to start other runs from.
    """

    name: str
    share: float
    rate: float = 1.0
    pretrains: bool = False


class Now(NamedTuple):
    """The moment of a step in its stage.

    `step`, `steps`, `stage` and `phase` are values of Python, which may branch on the stage and the phase alone.
    Arithmetic takes `progress` and `steps_done`, which are tensors on the device of the method, so that it uses no
    number of Python that changes from step to step.

    Attributes:
        step: number of steps of the stage that are done, 0..steps-1.
        steps: number of steps of the whole stage.
        stage: name of the stage.
        phase: how many of the boundaries in `Method.phases` are passed.
        progress: step / steps, in [0, 1); float64, or float32 on a device without float64.
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


def sigmoid_ramp(progress: Scalar, share: float) -> Scalar:
    """exp(-5 (1 - t)^2), where t rises from 0 to 1 in the first `share` of a stage and stays 1; in float32.

    Laine and Aila, Temporal Ensembling for Semi-Supervised Learning, ICLR 2017, https://arxiv.org/abs/1610.02242.
    """
    if share == 0:
        return torch.ones_like(progress, dtype=torch.float32)
    return (-5 * (1 - (progress / share).clamp(max=1)).square()).exp().float()
