"""The training loop: stages, steps, one backward, checkpoints; exact at every interruption."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from fewmask.data.batch import Unlabeled
from fewmask.data.pool import PicturePool
from fewmask.errors import UserError
from fewmask.methods import Method, Now, Stage
from fewmask.ops.draw import Purpose, seed_at
from fewmask.recipe import Recipe, TrainingConfig
from fewmask.run.atomic import write_bytes
from fewmask.run.checkpoint import (
    Position,
    cannot_write,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    state_bytes,
)
from fewmask.run.features import Moment
from fewmask.run.folder import RunFolder
from fewmask.run.validation import steps_between_val_scores
from fewmask.training.batches import reading
from fewmask.training.device import leave_bank_out_of_broadcast
from fewmask.training.hooks.feature_picture import look_at_features
from fewmask.training.hooks.journal import Journal, Silence
from fewmask.training.hooks.validation import Validation
from fewmask.training.prepare import TrainingData
from fewmask.use.device import enough_memory

_RATES = {"adamw": 5e-4, "sgd": 1e-2}
_DECAYS = {"adamw": 1e-2, "sgd": 5e-4}
_ATTENTION_RATES = {"adamw": 0.01, "sgd": 1.0}


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop; its checkpoint is saved."""


class _Pool:
    """The pool, whose walk ends at a first Ctrl-C: the checkpoint from before the stage is the newest."""

    def __init__(self, images: PicturePool, journal: Silence, stopped: Callable[[], bool]) -> None:
        self._images, self._journal, self._stopped = images, journal, stopped

    def __iter__(self) -> Iterator[Unlabeled]:
        for images in self._journal.walk(self._images):
            if self._stopped():
                raise Interrupted
            yield images


@enough_memory("Free it, or start a run with a smaller training.labeled_batch, training.unlabeled_batch or data.crop.")
def fit(fabric: Fabric, method: Method, data: TrainingData, recipe: Recipe, run: RunFolder, console: Console) -> None:
    """Trains from the newest checkpoint of the run, or from the start, to the end of the last stage.

    Every random draw of a step is seeded by (seed, stage, step, rank), so a resumed run repeats the unbroken one.

    Raises:
        Interrupted: after a first Ctrl-C, SIGTERM or SIGHUP, with a checkpoint saved.
        UserError: the loss stopped being finite, or a checkpoint could not be written.
    """
    training = recipe.training
    optimizers = build_optimizers(method, training)
    method.to(fabric.device)
    checkpoint = latest_checkpoint(run)
    at = load_checkpoint(checkpoint, method, optimizers) if checkpoint else Position()
    leave_bank_out_of_broadcast(method)
    wrapped, *fabric_optimizers = fabric.setup(method, *optimizers)
    wrapped.mark_forward_method("step")
    wrapped.train()
    lengths = stage_lengths([stage.share for stage in method.stages()], training.steps)
    first = sum(lengths[: at.stage]) + at.step
    journal = Silence()
    if fabric.is_global_zero:
        journal = Journal(run, data.classes.names, training.steps, first, training.alarm_excess, console)

    validation = Validation(run, method, data.folder, recipe, first)

    def is_due(done: int) -> bool:
        between = steps_between_val_scores(recipe)
        return between > 0 and (done % between == 0 or done == training.steps)

    def pause_for(work: Callable[[], None]) -> None:
        before = time.perf_counter()
        if fabric.is_global_zero:
            work()
        fabric.barrier()
        journal.paused(time.perf_counter() - before)

    def begin(stage: Stage, stopped: Callable[[], bool]) -> None:
        before = time.perf_counter()
        alone = fabric.world_size == 1  # the other ranks would wait at the next meeting for one that left
        pool = _Pool(PicturePool(data.unlabeled, fabric.device), journal, stopped if alone else lambda: False)
        method.eval()
        with torch.no_grad(), fabric.autocast():
            method.begin(stage, pool)
        wrapped.train()
        journal.paused(time.perf_counter() - before)

    def look_after(num_stages: int) -> None:
        stages = ("start", *(stage.name for stage in method.stages()))
        moment = Moment(num_stages, stages[num_stages], sum(lengths[:num_stages]))
        if training.feature_picture:
            pause_for(lambda: look_at_features(run, method.student, data, recipe, moment))

    def save(position: Position) -> None:
        if fabric.is_global_zero:
            save_checkpoint(run, method, optimizers, position, recipe)
        fabric.barrier()

    with journal, stop_flag() as stopped:
        if at == Position():
            look_after(0)
        for index, stage in enumerate(method.stages()):
            steps = lengths[index]
            if index < at.stage:
                continue
            start = at.step if index == at.stage else 0
            if start == 0:
                for optimizer in optimizers:
                    optimizer.state.clear()  # momenta of another loss
                begin(stage, stopped)
            with reading(data, training, Position(index, start), steps, fabric) as batches:
                for step in range(start, steps):
                    before = time.perf_counter()
                    batch = next(batches).to(fabric.device)
                    journal.waited(time.perf_counter() - before)
                    torch.manual_seed(seed_at(Purpose.STEP, training.seed, index, step, fabric.global_rank))
                    now = Now(step, steps, stage.name)
                    rate = _set_rates(optimizers, stage.rate * (1 - step / steps) ** training.poly_power)

                    losses, watch = wrapped.step(batch, now)
                    for optimizer in optimizers:
                        optimizer.zero_grad()
                    fabric.backward(torch.stack(list(losses.values())).sum())
                    for optimizer in fabric_optimizers:
                        optimizer.step()
                    method.after_update(now)

                    done = sum(lengths[:index]) + step + 1
                    journal.advance()
                    is_end, is_meeting = step + 1 == steps, done % training.log_every == 0
                    is_look = index == len(lengths) - 1 and is_due(done)
                    stops = not is_end and _all_agree_to_stop(fabric, stopped, is_meeting)
                    saves = is_look or stops or (not is_end and (step + 1) % training.checkpoint_every == 0)
                    if is_meeting or is_end or saves:
                        _check_finite(losses, method if is_end or saves else None, done, run)
                    if is_meeting or is_end:
                        journal.write(done, losses, watch, rate)
                    if is_look:
                        pause_for(lambda done=done: validation.score(done))
                    if saves:
                        save(Position(index, step + 1))
                    if stops:
                        raise Interrupted
            look_after(index + 1)
            if stage.pretrains and fabric.is_global_zero:
                _write_pretrained(run, method)
            save(Position(index + 1, 0))
        if stopped() and fabric.world_size == 1:  # what comes after this training is not to begin
            raise Interrupted


def _write_pretrained(run: RunFolder, method: Method) -> None:
    try:
        write_bytes(run.model_file("pretrained"), state_bytes(method.student))
    except OSError as error:
        raise cannot_write(run, "the pre-trained network", error) from None


def build_optimizers(method: Method, training: TrainingConfig) -> list[Optimizer]:
    """The recipe's optimizer over all that trains with the student; then, if there are critics, Adam over them.

    Adam and its settings are those of the released code of Hung et al., BMVC 2018.
    """
    groups = method.parameter_groups()
    critics = groups.pop("critics")
    optimizers = [_build_optimizer(groups, training)]
    if critics:
        rate = method.critic_rate
        group = {"params": critics, "lr": rate, "initial_lr": rate}
        optimizers.append(Adam([group], betas=(0.9, 0.99), fused=True))
    return optimizers


def _build_optimizer(trained: dict[str, list[nn.Parameter]], training: TrainingConfig) -> Optimizer:
    """AdamW or SGD over the groups, each at its own share of the rate."""
    kind = training.optimizer
    rate = training.learning_rate or _RATES[kind]
    decay = _DECAYS[kind] if training.weight_decay is None else training.weight_decay
    attention = _ATTENTION_RATES[kind] if training.attention_rate is None else training.attention_rate
    scale = {"encoder": training.encoder_rate, "attention": attention, "new": 1.0}
    groups = [
        {"params": parameters, "lr": rate * scale[name], "initial_lr": rate * scale[name]}
        for name, parameters in trained.items()
        if parameters
    ]
    if kind == "adamw":
        return AdamW(groups, weight_decay=decay, fused=True)
    # Not fused: that form breaks where a parameter's first gradient comes after the first step, as the heads' do.
    return SGD(groups, lr=rate, momentum=training.momentum, weight_decay=decay)


def stage_lengths(shares: list[float], steps: int) -> list[int]:
    """Whole steps per stage that sum to `steps`."""
    ends = [round(steps * sum(shares[: index + 1]) / sum(shares)) for index in range(len(shares))]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _set_rates(optimizers: list[Optimizer], share: float) -> float:
    """Every group at this share of its rate; returns that of the new parameters, the first optimizer's last group."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share
    return float(optimizers[0].param_groups[-1]["lr"])


def _all_agree_to_stop(fabric: Fabric, stopped: Callable[[], bool], is_meeting: bool) -> bool:
    """Whether to stop after this step. Several ranks must do so after the same one: they ask each other at meetings."""
    if fabric.world_size == 1:
        return stopped()
    if not is_meeting:
        return False
    votes = fabric.all_reduce(torch.tensor(float(stopped()), device=fabric.device), reduce_op="max")
    return bool(votes > 0)


def _check_finite(losses: dict[str, torch.Tensor], method: Method | None, step: int, run: RunFolder) -> None:
    """Raises UserError where a loss is not, or a weight of the method that is to be saved."""
    bad = [f"the loss term {name}" for name, loss in losses.items() if not torch.isfinite(loss)]
    if method is not None and not torch.stack([weights.isfinite().all() for weights in method.parameters()]).all():
        bad.append("a weight")
    if bad:
        raise UserError(
            f"{bad[0]} is no longer a finite number at step {step}",
            run.path,
            "Lower training.learning_rate, or try --set training.precision=32.",
        )


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C, SIGTERM or SIGHUP (a closed terminal) came; the step in progress is finished first.

    A second Ctrl-C stops at once. Under nohup, SIGHUP stays ignored.
    """
    asked = False
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # Windows has none
        numbers.append(signal.SIGHUP)

    def ask(_: int, __: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        previous = {number: signal.signal(number, ask) for number in numbers}
    except ValueError:  # not the main thread, e.g. a notebook server: signals are not ours to handle
        previous = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
