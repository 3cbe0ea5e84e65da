"""The trainer: the one place where a step is taken, and the loop over stages and steps around it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from fewmask.data.batch import Batch, Unlabeled
from fewmask.data.pool import PicturePool
from fewmask.methods import Method, Now, Stage, Step
from fewmask.models.ranks import average_over_ranks, norm_statistics
from fewmask.ops.draw import Purpose, seed_at, seed_draws
from fewmask.recipe import TrainingConfig
from fewmask.run.checkpoint import Position
from fewmask.training.batches import reading
from fewmask.training.hooks.hook import Hook
from fewmask.training.optimizers import clip_gradients, set_rates
from fewmask.training.prepare import TrainingData
from fewmask.training.stopping import Interrupted, Vote, stop_flag


class Trainer:
    """Trains a method; everything that happens around its steps is done by hooks.

    Args:
        method: the method, in train or eval mode; it is moved to the device of `fabric`.
        optimizers: the optimizers over the method's parameters.
        training: how long, in which batches, and at which rates to train.
        fabric: device, ranks and precision; None: only this process, on the method's device, in float32.
        hooks: the hooks, in the order in which they are called.
        scaler: the scaler of the loss if gradients are in float16.

    Attributes:
        take: takes a step of the loop. This is `step`, or something that does the same faster, such as captured steps.
        stages: the stages of the run; `lengths` holds their numbers of steps.
        position: how far the run is.
        phase: the phase of the last step in its stage.
        rate: the learning rate of the last step.
        waited: seconds that the last step waited for its batches.
        stopping: whether the run was asked to stop; it stops after the hooks of this step.
        wants_checkpoint: a hook sets it so that a later hook saves this step.
    """

    def __init__(
        self,
        method: Method,
        optimizers: Sequence[Optimizer],
        training: TrainingConfig,
        fabric: Fabric | None = None,
        hooks: Sequence[Hook] = (),
        scaler: GradScaler | None = None,
    ) -> None:
        self.method, self.optimizers, self.training = method, list(optimizers), training
        self.fabric = fabric or Fabric(accelerator=next(method.parameters()).device.type, devices=1)
        self.hooks, self.scaler = list(hooks), scaler
        self.stages = method.course()
        self.lengths = stage_lengths([stage.share for stage in self.stages], training.steps)
        self.position, self.phase = Position(), 0
        self.rate, self.waited, self.stopping, self.wants_checkpoint = 0.0, 0.0, False, False
        self.take: Callable[..., Step] = self.step
        self._module = self.fabric.setup_module(method)
        self._statistics = list(norm_statistics(method, method.replicated_buffers()).values())

    @property
    def stage(self) -> Stage:
        """The present stage; after the end of the run, the last stage."""
        return self.stages[min(self.position.stage, len(self.stages) - 1)]

    @property
    def done(self) -> int:
        """The number of steps of the whole run that have been taken."""
        return sum(self.lengths[: self.position.stage]) + self.position.step

    @property
    def logs(self) -> bool:
        """Whether the last step is one that the log shows."""
        return self.ends_stage or self.done % self.training.log_every == 0

    @property
    def ends_stage(self) -> bool:
        """Whether the last step was the last one of its stage."""
        return self.position.step == self.lengths[self.position.stage]

    @property
    def has_more_phases(self) -> bool:
        """Whether a later step of the run does other work than the last one."""
        stage = self.position.stage
        is_last_stage = stage >= len(self.stages) - 1
        return not is_last_stage or self.phase < len(self.method.phases(self.stages[stage].name, self.lengths[stage]))

    def step(self, now: Now, *batches: Batch) -> Step:
        """Runs forward, backward, the optimizers, and what the method does after an update.

        The gradients of several batches add up to their mean. Returns the losses without gradient, as means over the
        batches, and the watched values of the last batch.
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        steps = []
        for index, batch in enumerate(batches):
            with self.fabric.no_backward_sync(self._module, enabled=index < len(batches) - 1):
                step = self._module(partial(self.method.take, batch, now))  # under autocast; DDP sees the call
                loss = torch.stack(list(step.losses.values())).sum() / len(batches)
                self.fabric.backward(loss if self.scaler is None else self.scaler.scale(loss))
            steps.append(step)
        self._update()
        average_over_ranks(self._statistics)  # before the method copies them
        self.method.close(now)
        return _mean(steps)

    def run(self, data: TrainingData) -> None:
        """Takes all steps from `position` on.

        Every random draw of a step is seeded by (seed, stage, step, rank), so a resumed run repeats an unbroken one.

        Raises:
            Interrupted: after a first Ctrl-C, SIGTERM or SIGHUP, once the hooks have been told.
        """
        self._module.train()
        try:
            with stop_flag() as stopped:
                self._vote = Vote(self.fabric, stopped)
                self._tell("on_start")
                while self.position.stage < len(self.stages):
                    self._run_stage(data, stopped)
                if stopped() and self.fabric.world_size == 1:  # nothing that would follow may begin
                    raise Interrupted
        finally:
            self._tell("on_end")

    def checked(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses that must be finite: none if the loss is scaled, because a step that overflows is left out.

        Every such step halves the scale. A scale below 1 tells that none of many steps fitted, so none will.
        """
        may_overflow = self.scaler is not None and self.scaler.get_scale() >= 1
        return {} if may_overflow else losses

    @contextmanager
    def pause(self) -> Iterator[None]:
        """A context in which no step is taken and whose time is not counted."""
        before = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - before
            for hook in self.hooks:
                hook.on_pause(self, seconds)

    def alone(self, work: Callable[[], None]) -> None:
        """Rank 0 does the work while all ranks pause."""
        with self.pause():
            if self.fabric.is_global_zero:
                work()
            self.fabric.barrier()

    def _run_stage(self, data: TrainingData, stopped: Callable[[], bool]) -> None:
        """Takes the remaining steps of the present stage."""
        stage, steps = self.stage, self.lengths[self.position.stage]
        if self.position.step == 0:
            for optimizer in self.optimizers:
                optimizer.state.clear()  # its momenta are of another loss
            self._open(data, stopped)
        with reading(data, self.training, self.position, steps, self.fabric) as batches:
            for step in range(self.position.step, steps):
                before = time.perf_counter()
                read = [next(batches).to(self.fabric.device) for _ in range(self.training.accumulate)]
                self.waited = time.perf_counter() - before
                place = (self.training.seed, self.position.stage, step, self.fabric.global_rank)
                seed_draws(seed_at(Purpose.STEP, *place), self.fabric.device)
                self.rate = set_rates(self.optimizers, stage.rate * (1 - step / steps) ** self.training.poly_power)
                now = self.method.now(step, steps, stage.name)
                result = self.take(now, *read)
                self.phase = now.phase
                self.position = Position(self.position.stage, step + 1)
                self.stopping = not self.ends_stage and self._vote.stops()
                self.wants_checkpoint = False
                for hook in self.hooks:
                    hook.on_step(self, result)
                if self.stopping:
                    raise Interrupted
        self.position = Position(self.position.stage + 1, 0)
        self._tell("on_stage_end")

    def _open(self, data: TrainingData, stopped: Callable[[], bool]) -> None:
        """Lets the method begin the stage. The method may walk the pool, and a first Ctrl-C ends the walk."""
        pool = PicturePool(data.unlabeled, self.fabric.device)
        with self.pause():
            self.method.eval()
            with torch.no_grad(), self.fabric.autocast():
                self.method.open(self.stage, _Walk(self, pool, stopped))
            self._module.train()
        self._tell("on_stage_begin")

    def _update(self) -> None:
        if self.training.clip_norm is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizers[0])
            clip_gradients(self.optimizers[0], self.training.clip_norm)
        for optimizer in self.optimizers:
            if self.scaler is None:
                optimizer.step()
            else:
                self.scaler.step(optimizer)
        if self.scaler is not None:
            self.scaler.update()

    def _tell(self, what: str) -> None:
        for hook in self.hooks:
            getattr(hook, what)(self)


class _Walk:
    """The pool as a method walks it: hooks are told how far the walk is, and a request to stop the run ends it."""

    def __init__(self, trainer: Trainer, pool: PicturePool, stopped: Callable[[], bool]) -> None:
        alone = trainer.fabric.world_size == 1  # ranks that go on would wait for one that left
        self._trainer, self._pool, self._stopped = trainer, pool, stopped if alone else lambda: False

    def __iter__(self) -> Iterator[Unlabeled]:
        total = len(self._pool)
        for done, images in enumerate(self._pool):
            if self._stopped():
                raise Interrupted  # the newest checkpoint is from before the stage
            yield images
            for hook in self._trainer.hooks:
                hook.on_walk(self._trainer, done + 1, total)


def stage_lengths(shares: Sequence[float], steps: int) -> list[int]:
    """The number of steps of each stage; they sum to `steps`."""
    ends = [round(steps * sum(shares[: index + 1]) / sum(shares)) for index in range(len(shares))]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _mean(steps: Sequence[Step]) -> Step:
    """The losses of all batches as one step; a term that a batch lacks counts as 0 there."""
    if len(steps) == 1:
        return Step({name: loss.detach() for name, loss in steps[0].losses.items()}, steps[0].watch)
    names = dict.fromkeys(name for step in steps for name in step.losses)
    losses = {
        name: torch.stack([step.losses[name].detach() for step in steps if name in step.losses]).sum() / len(steps)
        for name in names
    }
    return Step(losses, steps[-1].watch)
