"""What a run costs: how often images pass through its networks, with and without gradient, and how long that takes.

Between two phases of a method every step does the same, so one real step of every phase says what all of them do.
"""

import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from fewmask.data.batch import Unlabeled, to_unit
from fewmask.methods import Method, Stage
from fewmask.models.segnet import SegNet
from fewmask.recipe import Recipe
from fewmask.run.checkpoint import Position
from fewmask.training.batches import reading
from fewmask.training.build import build_method
from fewmask.training.capture import WARM_UP, CapturedSteps, can_capture
from fewmask.training.device import fit_to_device, launch_fabric, loss_scaler
from fewmask.training.optimizers import build_optimizers
from fewmask.training.prepare import TrainingData, prepare_data
from fewmask.training.trainer import Trainer, stage_lengths

_WALKED = 8  # images of the pool that stand for all of it


class Spent(NamedTuple):
    """What a run, or a part of it, costs. An image of the size of a crop is one pass, and a larger one counts more.

    Attributes:
        with_gradient: passes of an image through a segmentation network that are kept for the backward pass.
        without_gradient: passes whose result is used as it is, such as those of a teacher, and those of all unlabeled
            images before a stage that looks at them.
        seconds: the time.
    """

    with_gradient: float = 0.0
    without_gradient: float = 0.0
    seconds: float = 0.0

    def times(self, count: float) -> "Spent":
        """The cost of so many such parts."""
        return Spent(*(count * value for value in self))

    def plus(self, other: "Spent") -> "Spent":
        """The cost of both parts."""
        return Spent(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Spending:
    """The cost of runs of a recipe of any length; it takes real steps, on the device of the recipe.

    Args:
        recipe: the recipe; nothing is written to a run folder.
        repeats: how many steps of a phase are timed.

    Raises:
        UserError: the recipe cannot be trained.
    """

    def __init__(self, recipe: Recipe, repeats: int = 1) -> None:
        self.fabric = launch_fabric(recipe.training)
        self.training, self.repeats = recipe.training, repeats
        self.data: TrainingData = prepare_data(recipe)
        self.method = build_method(recipe, self.data)
        self.captures = can_capture(recipe.training, self.fabric)
        device = self.fabric.device if self.captures else None
        optimizers = build_optimizers(self.method.parameter_groups(), recipe.training, device)
        fit_to_device(self.method, self.fabric)
        self.trainer = Trainer(self.method, optimizers, recipe.training, self.fabric, scaler=loss_scaler(self.fabric))
        self._steps: dict[tuple[str, int], Spent] = {}
        self._openings: dict[str, Spent] = {}

    def of_run(self, steps: int) -> Spent:
        """The cost of a run of so many steps."""
        stages = self.method.course()
        total = Spent()
        for stage, length in zip(stages, stage_lengths([stage.share for stage in stages], steps), strict=True):
            total = total.plus(self._of_opening(stage))
            bounds = [0, *(min(step, length) for step in phases_of(self.method, stage, length)), length]
            for first, last in pairwise(bounds):
                if last > first:
                    total = total.plus(self._of_step(stage, first, length).times(last - first))
        return total

    def _of_opening(self, stage: Stage) -> Spent:
        if stage.name not in self._openings:
            store = self.data.unlabeled
            shown = 0 if store is None else min(len(store), _WALKED)
            with _counting(self.method, self._area()) as counted:
                pool = _Pool(self, shown, counted)
                self.method.eval()
                with torch.no_grad(), self.fabric.autocast():
                    self.method.open(stage, pool)
                self.method.train()
            rest = 0 if store is None else len(store) / max(shown, 1) - 1
            passes = counted.without_gradient + pool.passes * rest
            self._openings[stage.name] = Spent(0, passes, pool.seconds * (1 + rest))
        return self._openings[stage.name]

    def _of_step(self, stage: Stage, step: int, length: int) -> Spent:
        key = (stage.name, bisect_right(phases_of(self.method, stage, length), step))
        if key not in self._steps:
            self._steps[key] = self._measured(stage, step, length)
        return self._steps[key]

    def _measured(self, stage: Stage, step: int, length: int) -> Spent:
        """One step that is counted, and further ones that are timed."""
        place = self.method.course().index(stage)
        take = CapturedSteps(self.trainer, lambda _: None) if self.captures else self.trainer.step
        warm_up, seconds = WARM_UP + 1 if self.captures else 0, []
        with reading(self.data, self.training, Position(place, 0), warm_up + self.repeats + 1, self.fabric) as batches:
            for number in range(warm_up + self.repeats + 1):
                before = time.perf_counter()
                read = [next(batches).to(self.fabric.device) for _ in range(self.training.accumulate)]
                now = self.method.now(step, length, stage.name)
                if number == 0:
                    with _counting(self.method, self._area()) as counted:
                        take(now, *read)
                else:
                    take(now, *read)
                self._wait()
                seconds.append(time.perf_counter() - before)
        if isinstance(take, CapturedSteps):
            take.drop()
        return Spent(counted.with_gradient, counted.without_gradient, median(seconds[warm_up + 1 :]))

    def _area(self) -> int:
        """The pixels of a crop as the encoder sees it, padded to the stride of the network."""
        stride = self.method.student.stride
        height, width = (-(-side // stride) * stride for side in self.data.crop)
        return height * width

    def _wait(self) -> None:
        if self.fabric.device.type == "cuda":
            torch.cuda.synchronize()


class _Counted:
    """Passes so far, of images of the size of a crop."""

    with_gradient = without_gradient = 0.0


class _Pool:
    """The first images of the pool, with what is done with them between one and the next."""

    def __init__(self, spending: Spending, num_shown: int, counted: _Counted) -> None:
        self._spending, self._num_shown, self._counted = spending, num_shown, counted
        self.passes = self.seconds = 0.0

    def __len__(self) -> int:
        return self._num_shown

    def __iter__(self) -> Iterator[Unlabeled]:
        store = self._spending.data.unlabeled
        for place in range(self._num_shown):
            assert store is not None
            before, passes = time.perf_counter(), self._counted.without_gradient
            images = to_unit(store.picture(place).image[None], self._spending.fabric.device)
            yield Unlabeled(images, torch.ones_like(images[:, 0], dtype=torch.bool))
            self._spending._wait()
            self.seconds += time.perf_counter() - before
            self.passes += self._counted.without_gradient - passes


@contextmanager
def _counting(method: Method, area: int) -> Iterator[_Counted]:
    """Counts what passes through the encoders of a method's networks inside."""
    counted = _Counted()

    def count(_: nn.Module, inputs: Any) -> None:
        images = inputs[0]
        passes = len(images) * images.shape[-2] * images.shape[-1] / area
        if torch.is_grad_enabled():
            counted.with_gradient += passes
        else:
            counted.without_gradient += passes

    hooks: list[RemovableHandle] = [
        module.network.encoder.register_forward_pre_hook(count)
        for module in method.modules()
        if isinstance(module, SegNet)
    ]
    try:
        yield counted
    finally:
        for hook in hooks:
            hook.remove()


def phases_of(method: Method, stage: Stage, steps: int) -> list[int]:
    """The steps at which the method's Python takes another branch; none in a prelude."""
    return method.phases(stage.name, steps) if stage.name in {own.name for own in method.stages()} else []
