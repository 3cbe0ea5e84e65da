"""Time, memory and operations of things compared by turns in one process; on a GPU, events give the time."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

Run = Callable[[], object]


def median_seconds(runs: Mapping[str, Run], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each run, after one round that does not count; the rounds take turns in which run is first."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(repeats + 1):
        for name in names if turn % 2 else reversed(names):
            spent = _seconds(runs[name], device)
            if turn:
                seconds[name].append(spent)
    return {name: median(values) for name, values in seconds.items()}


def _seconds(run: Run, device: torch.device) -> float:
    begin = clock(device)
    run()
    return clock(device).since(begin)


class Moment(NamedTuple):
    """A point in time: on a GPU when the GPU gets there, on a CPU when it is made."""

    event: torch.cuda.Event | None
    time: float

    def since(self, begin: "Moment") -> float:
        """Seconds from `begin` to this moment."""
        if self.event is None or begin.event is None:
            return self.time - begin.time
        self.event.synchronize()
        return float(begin.event.elapsed_time(self.event)) / 1000


def clock(device: torch.device) -> Moment:
    """The present moment of the device."""
    if device.type != "cuda":
        return Moment(None, time.perf_counter())
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return Moment(event, 0.0)


def peak_mib(run: Run, device: torch.device) -> float:
    """The most MiB that PyTorch holds during a run, beyond what it held before."""
    run()  # makes what is made only once, such as momenta
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    held = peak = 0
    for event in sorted(record.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / 2**20


def num_operations(run: Run) -> int:
    """How many operations a run gives to the device, about as many as it launches kernels; views do not count."""
    with _Operations() as operations:
        run()
    return int(operations.count)


class _Operations(TorchDispatchMode):
    count = 0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_view = any(returned.alias_info and not returned.alias_info.is_write for returned in func._schema.returns)
        makes_nothing = func.overloadpacket.__name__.lstrip("_").startswith(("empty", "new_empty", "unsafe_view"))
        self.count += not (is_view or makes_nothing)
        return func(*args, **(kwargs or {}))
