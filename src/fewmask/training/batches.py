"""The batches of a stage, read ahead by processes that ignore Ctrl-C and end with the run."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_fabric import Fabric

from fewmask.data.batch import Batch
from fewmask.data.loader import Draws, StepBatches, step_loader
from fewmask.errors import UserError
from fewmask.recipe import TrainingConfig
from fewmask.run.checkpoint import Position
from fewmask.training.prepare import TrainingData
from fewmask.training.readers import allow_open_files


@contextmanager
def reading(
    data: TrainingData, training: TrainingConfig, start: Position, steps: int, fabric: Fabric
) -> Iterator[Iterator[Batch]]:
    """The batches of the steps from `start` to the end of its stage, with `training.accumulate` batches for every step.

    This is a context manager; the processes that read end with the context.

    Raises:
        UserError: a file cannot be read, in this process or in one that reads ahead, or too few files may be open.
    """
    num_unlabeled = training.unlabeled_batch or training.labeled_batch
    draws = Draws(
        training.seed,
        start.stage,
        data.crop,
        training.labeled_batch,
        num_unlabeled,
        fabric.global_rank,
        fabric.world_size,
    )
    batches = _ToldBatches(data.labeled, data.unlabeled, draws, data.source, data.balance, data.held_out)
    allow_open_files(data.workers)
    with _signals_held_back():
        first, last = start.step * training.accumulate, steps * training.accumulate
        loader = step_loader(batches, first, last, data.workers, pinned=fabric.device.type == "cuda")
    try:
        yield map(_told, loader)
    finally:
        if data.workers:
            loader._shutdown_workers()  # type: ignore[attr-defined]  # otherwise they wait for the end of an exception


class _ToldBatches(StepBatches):
    """Batches that return a UserError as a value, because an exception from a process arrives as a mere text."""

    def __getitem__(self, step: int) -> Batch | UserError:  # type: ignore[override]
        try:
            return super().__getitem__(step)
        except UserError as error:
            return error


def _told(batch: Batch | UserError) -> Batch:
    if isinstance(batch, UserError):
        raise batch
    return batch


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Processes that are started here never get the signals that stop a run; they read until the run itself stops."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
