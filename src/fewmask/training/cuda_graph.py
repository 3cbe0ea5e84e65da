"""A CUDA graph that records a step, and that leaves PyTorch in order if the step cannot be recorded."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TypeVar

import torch

Result = TypeVar("Result")

_failed: list[torch.cuda.CUDAGraph] = []
"""Graphs that could not be ended. The allocator may still hold a function of theirs, so they have to stay."""


@cache
def _stream(index: int) -> torch.cuda.Stream:
    """One stream for all recordings on a GPU, because libraries keep memory for every stream that they have seen."""
    return torch.cuda.Stream(index)


class CudaGraph:
    """Records on a stream of its own, on which the steps before the recording run too.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._index = torch.cuda.current_device() if device.index is None else device.index
        self._stream = _stream(self._index)
        self._graph: torch.cuda.CUDAGraph | None = None

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        """Inside, work goes to the stream of the recording: libraries set themselves up there, and so does autograd."""
        main = torch.cuda.current_stream(self._index)
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            yield
        main.wait_stream(self._stream)

    def record(self, step: Callable[[], Result]) -> Result:
        """Records the step; the GPU runs nothing of it.

        Draws of the default generator are recorded as such, and a replay takes them from the seed that the generator
        has then.

        Raises:
            RuntimeError: the step cannot be recorded. Stream, generator and memory are as before.
        """
        gc.collect()  # what it frees in the middle of a recording might end it
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        main, generator = torch.cuda.current_stream(self._index), torch.cuda.default_generators[self._index]
        before = generator.graphsafe_get_state()
        generator.graphsafe_set_state(generator.clone_state())  # a recording that fails may leave its state unusable
        failure: RuntimeError | None = None
        try:
            # Other threads, such as the one that pins batches in memory, may go on with what a recording must not do.
            with torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"):
                try:
                    result = step()
                except RuntimeError as error:
                    failure = error
        except RuntimeError as error:  # where the step failed, the recording may fail to end, too
            failure = failure or error
        if failure is None:
            self._graph = graph
            return result
        torch.cuda.set_stream(main)
        generator.graphsafe_set_state(before)
        _failed.append(graph)
        with suppress(RuntimeError):
            graph.reset()
        with suppress(RuntimeError):  # an error says that PyTorch did it itself
            torch._C._cuda_endAllocateToPool(self._index, pool)
            torch._C._cuda_releasePool(self._index, pool)
        try:
            raise failure
        finally:
            del failure  # it knows this call, and both would keep the tensors of the step

    def replay(self) -> None:
        """Takes the recorded step, on the current stream."""
        assert self._graph is not None
        self._graph.replay()

    def drop(self) -> None:
        """Frees the graph and its memory."""
        if self._graph is not None:
            torch.cuda.synchronize(self._index)
            self._graph.reset()
            self._graph = None
            torch.cuda.empty_cache()
