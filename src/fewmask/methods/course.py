"""The course of a run: the stages of a method, and of a prelude that may come before them."""

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fewmask.data.batch import Batch
from fewmask.data.pool import Pool
from fewmask.methods.plan import Now, Stage
from fewmask.models.segnet import SegNet
from fewmask.ops.exact import exact_dtype
from fewmask.shapes import Scalar


class Step(NamedTuple):
    """The result of a step: the weighted loss terms, which the trainer sums, and values to plot as curves."""

    losses: dict[str, Scalar]
    watch: dict[str, Tensor]  # scalars, or one value per class


class Prelude(nn.Module):
    """Stages that train the student of any method before the method's own.

    Attributes:
        later_rate: factor of the learning rates of the method's own stages.
    """

    later_rate: float = 1.0

    def stages(self) -> tuple[Stage, ...]:
        """The stages of the prelude; their shares are of the whole run and sum to less than 1."""
        raise NotImplementedError

    def step(self, student: SegNet, batch: Batch, now: Now) -> Step:
        """The losses of one batch."""
        raise NotImplementedError


class Course(nn.Module):
    """Goes through the stages of a run.

    A method implements `stages`, `phases`, `begin`, `step` and `after_update` for its own stages. The trainer calls
    `course`, `now`, `open`, `take` and `close`, which serve the stages of the prelude too.
    """

    prelude: Prelude | None

    def __init__(self) -> None:
        super().__init__()
        self.prelude = None

    @property
    def student(self) -> SegNet:
        """The network that learns, and that a prelude trains."""
        raise NotImplementedError

    def networks(self) -> dict[str, SegNet]:
        """Every network that can be scored, by the names and in the order of `Needs.networks`; the first is shipped."""
        return {"student": self.student}

    def stages(self) -> tuple[Stage, ...]:
        """The stages in order; their shares sum to 1."""
        return (Stage("train", 1.0),)

    def phases(self, stage: str, steps: int) -> list[int]:
        """The steps of this stage at which `step` takes another branch of Python, in rising order; often none.

        Between two of these steps, every step does the same operations on tensors of the same shapes.
        """
        return []

    def begin(self, stage: Stage, pool: Pool) -> None:
        """Called once before the first step of a stage: without gradient, in eval mode, under the trainer's autocast.

        Here a method may look at the whole pool of unlabeled images. What it finds must lie in buffers, because a
        run that resumes inside the stage does not call `begin` again. Every rank must find the same.
        """

    def step(self, batch: Batch, now: Now) -> Step:
        """The losses of one batch; runs under the trainer's autocast."""
        raise NotImplementedError

    def after_update(self, now: Now) -> None:
        """Called once after every optimizer step."""

    def course(self) -> tuple[Stage, ...]:
        """All stages of a run: the prelude's, then the method's own in the share of the run that is left."""
        if self.prelude is None:
            return self.stages()
        first, rate = self.prelude.stages(), self.prelude.later_rate
        left = 1 - sum(stage.share for stage in first)
        own = (stage._replace(share=stage.share * left, rate=stage.rate * rate) for stage in self.stages())
        return (*first, *own)

    def now(self, step: int, steps: int, stage: str = "train") -> Now:
        """The moment of a step, on the device of the method."""
        device = next(self.parameters()).device
        progress = torch.full((), step / steps, dtype=exact_dtype(device), device=device)  # a copy would wait
        phases = [] if self._is_prelude(stage) else self.phases(stage, steps)
        return Now(step, steps, stage, bisect_right(phases, step), progress)

    def open(self, stage: Stage, pool: Pool) -> None:
        """Begins a stage. After a prelude, other networks of the method start from the student that it trained."""
        if self._is_prelude(stage.name):
            return
        if self.prelude is not None and stage.name == self.stages()[0].name:
            for net in self.networks().values():
                if net is not self.student:
                    net.load_state_dict(self.student.state_dict())
        self.begin(stage, pool)

    def take(self, batch: Batch, now: Now) -> Step:
        """Takes a step of the prelude or of the method, whichever the stage belongs to."""
        if self.prelude is not None and self._is_prelude(now.stage):
            return self.prelude.step(self.student, batch, now)
        return self.step(batch, now)

    def close(self, now: Now) -> None:
        """Called once after every optimizer step; tells the method in its own stages."""
        if not self._is_prelude(now.stage):
            self.after_update(now)

    def forward(self, work: Callable[[], Step]) -> Step:
        """Does the work. Wrappers of modules (DDP, autocast) hook in here without seeing its inputs."""
        return work()

    def _is_prelude(self, stage: str) -> bool:
        return self.prelude is not None and stage in {own.name for own in self.prelude.stages()}
