"""Captured steps: the step of a phase is recorded once, as a CUDA graph, and replayed with new batches.

A small network's step is thousands of short kernels, and a GPU waits for the launch of each. A graph launches all of
them at once. What changes from step to step is a tensor that a replay finds in its place: the batches, the progress,
the learning rates, and the seed of the random draws.
"""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils import _pytree as pytree

from fewmask.data.batch import Batch
from fewmask.errors import one_line
from fewmask.methods import Now, Step
from fewmask.recipe import TrainingConfig
from fewmask.training.cuda_graph import CudaGraph
from fewmask.training.optimizers import recordable
from fewmask.training.snapshot import Snapshot
from fewmask.training.static import StepRecord, own_file, why_not_static

if TYPE_CHECKING:
    from fewmask.training.trainer import Trainer

WARM_UP = 3
"""Steps of a phase that run one operation at a time before one is recorded. They make what is made only once, such as
momenta, and the last two are compared."""


class Graph(Protocol):
    """Something that records a step without taking it, and then takes it as often as asked."""

    def warm_up(self) -> AbstractContextManager[None]:
        """A context for the steps that run before the recording."""

    def record(self, step: Callable[[], Step]) -> Step:
        """Records the step. Its result holds the values of the newest replay.

        Raises:
            RuntimeError: the step cannot be recorded.
        """

    def replay(self) -> None:
        """Takes the step."""

    def drop(self) -> None:
        """Frees the memory of the recording."""


def can_capture(training: TrainingConfig, fabric: Fabric) -> bool:
    """Whether steps are to be captured: on one GPU of NVIDIA, unless the recipe says no. Ranks wait for each other
    within a step, so several of them take it one operation at a time."""
    return training.capture and fabric.device.type == "cuda" and fabric.world_size == 1


class CapturedSteps:
    """Takes the steps of a trainer, which are the same as those of `Trainer.step` up to rounding.

    The first steps of a phase run one operation at a time. If they did not do the same, or if the recording fails, one
    line says why, and the phase goes on without a recording. Batches of another size begin a phase, too, and one line
    says so if their size changes too often to record a step. A recording is dropped when the next phase begins.

    Args:
        trainer: its optimizers are those of `build_optimizers` for a device that captures.
        tell: gets the line for a person.
        new_graph: makes what records, once for every phase.
        rehearse: whether the steps of the warm-up are compared. The comparison does not see into compiled networks.
    """

    def __init__(
        self,
        trainer: "Trainer",
        tell: Callable[[str], None],
        new_graph: Callable[[], Graph] | None = None,
        rehearse: bool = True,
    ) -> None:
        self._trainer, self._tell, self._rehearses = trainer, tell, rehearse
        self._new_graph = new_graph or (lambda: CudaGraph(trainer.fabric.device))
        self._phase: object = None
        self._graph: Graph | None = None
        self._recording: _Recording | None = None
        self._rehearsed: list[StepRecord] = []
        self._num_taken = 0
        self._num_changes = 0

    def __call__(self, now: Now, *batches: Batch) -> Step:
        """Takes a step, as `Trainer.step` does. The tensors of the result hold their values until the next step."""
        phase = now.stage, now.steps, now.phase, _layout(batches)
        if phase != self._phase:
            self._note_change(phase)
            self.drop()
            self._phase, self._graph, self._num_taken = phase, self._new_graph(), 0
        if self._graph is not None and self._recording is None and self._num_taken >= WARM_UP:
            self._record(self._graph, now, batches)
        if self._recording is not None:
            return self._recording.replay(now, batches)
        self._num_taken += 1
        return self._take(now, batches)

    def _note_change(self, phase: tuple[object, ...]) -> None:
        """Says once that batches change their sizes so often that no step is recorded."""
        is_new_size = isinstance(self._phase, tuple) and phase[:3] == self._phase[:3]
        self._num_changes = self._num_changes + 1 if is_new_size and self._recording is None else 0
        if self._num_changes == WARM_UP:
            fix = "With a source domain, an even training.labeled_batch gives all steps one size."
            self._tell(f"Steps run without capture while the sizes of their batches change. {fix}")

    def drop(self) -> None:
        """Frees the recording; the next step begins as in a new phase."""
        if self._recording is not None:
            self._clear_gradients()  # they lie in the memory of the recording
        self._recording, self._phase = None, None
        self._rehearsed.clear()
        if self._graph is not None:
            self._graph.drop()
            self._graph = None

    def _take(self, now: Now, batches: tuple[Batch, ...]) -> Step:
        """A step one operation at a time; after the last one of the warm-up, what the steps did is compared."""
        if self._graph is None:
            return self._trainer.step(now, *batches)
        with self._graph.warm_up():
            if not self._rehearses or self._num_taken == 1:
                return self._trainer.step(now, *batches)
            with StepRecord(own_file(self._trainer.method)) as done:
                result = self._trainer.step(now, *batches)
        self._rehearsed.append(done)
        if len(self._rehearsed) == 2 and (reason := why_not_static(*self._rehearsed)):
            self._give_up(f"the step {reason}")
        return result

    def _record(self, graph: Graph, now: Now, batches: tuple[Batch, ...]) -> None:
        """Records the step, which leaves all that the step changes as it was."""
        self._rehearsed.clear()
        self._clear_gradients()
        inputs = pytree.tree_map_only(Tensor, torch.clone, batches)
        at = now._replace(progress=now.progress.clone())
        kept, reason = Snapshot(self._trainer), None
        try:
            with recordable(self._trainer.optimizers):
                result = graph.record(lambda: self._trainer.step(at, *inputs))
        except RuntimeError as error:
            reason = f"{_what(error)}{self._place_in(error)}"
        finally:
            if replaced := kept.restore():
                reason = reason or f"the step puts another tensor in the place of {replaced}, instead of changing it"
        if reason is None:
            self._recording = _Recording(graph, (at.progress, *_tensors(inputs)), result)
        else:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        """Lets this phase run one operation at a time, and says why."""
        self._clear_gradients()
        gc.collect()  # an error holds the tensors of the step in which it was raised
        if self._graph is not None:
            self._graph.drop()
            self._graph = None
        stage, phase = (self._phase[0], self._phase[2]) if isinstance(self._phase, tuple) else ("", 0)
        self._tell(f"Steps of stage {stage}, phase {phase}, run without capture: {reason.rstrip('.')}.")

    def _clear_gradients(self) -> None:
        for optimizer in self._trainer.optimizers:
            optimizer.zero_grad()

    def _place_in(self, error: BaseException) -> str:
        """The line of the method at which the error was raised, in words."""
        file = own_file(self._trainer.method)
        lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
        return f" (at {Path(file).name}:{lines[-1]})" if lines else ""


class _Recording:
    """A recorded step with the tensors that it reads and those of its result."""

    def __init__(self, graph: Graph, inputs: tuple[Tensor, ...], result: Step) -> None:
        self._graph, self._inputs, self._result = graph, list(inputs), result

    def replay(self, now: Now, batches: tuple[Batch, ...]) -> Step:
        """Takes the step with these batches, at this progress."""
        for place, value in zip(self._inputs, [now.progress, *_tensors(batches)], strict=True):
            place.copy_(value, non_blocking=True)
        self._graph.replay()
        return self._result


def _what(error: RuntimeError) -> str:
    """What an error of PyTorch says, without its advice."""
    text = one_line(error)
    for advice in (" Search for ", " CUDA kernel errors ", ". GPU "):
        text = text.partition(advice)[0]
    return text


def _tensors(batches: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(batches) if isinstance(leaf, Tensor)]


def _layout(batches: tuple[Batch, ...]) -> tuple[object, ...]:
    """The sizes and types of all that the batches hold, and their numbers."""
    return tuple((leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf for leaf in pytree.tree_leaves(batches))
