"""Stopping a run between two steps: how a signal asks for it, and how several ranks agree on it."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from lightning_fabric import Fabric

_PATIENCE = 5.0  # seconds
_SECONDS = 1.0
_MOST_STEPS = 200


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop, and its checkpoint is saved."""


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C, SIGTERM or SIGHUP (a closed terminal) came.

    The step in progress is finished first. A second Ctrl-C stops at once. So does any second signal that comes seconds
    after the first, because then the step hangs; launchers may send a signal twice in one moment. Under nohup, SIGHUP
    stays ignored.
    """
    asked, first = False, 0.0
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not on Windows
        numbers.append(signal.SIGHUP)

    def ask(_: int, __: FrameType | None) -> None:
        nonlocal asked, first
        if asked and time.monotonic() - first > _PATIENCE:
            raise KeyboardInterrupt
        if not asked:
            asked, first = True, time.monotonic()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        previous = {number: signal.signal(number, ask) for number in numbers}
    except ValueError:  # not the main thread, e.g. in a notebook server: signals are not ours to handle
        previous = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Vote:
    """Whether to stop after a step. Several ranks must stop after the same one, so they ask each other now and then.

    A launcher that ends a run waits for seconds before it kills. So the ranks meet about every second, however long a
    step takes. All of them count steps to the next meeting by the time that the slowest one took since the last.
    """

    def __init__(self, fabric: Fabric, stopped: Callable[[], bool]) -> None:
        self._fabric, self._stopped = fabric, stopped
        self._between, self._since, self._last = 1, 0, time.perf_counter()

    def stops(self) -> bool:
        """Is called after every step on every rank; the answer is the same on all."""
        if self._fabric.world_size == 1:
            return self._stopped()
        self._since += 1
        if self._since < self._between:
            return False
        now = time.perf_counter()
        mine = torch.tensor([float(self._stopped()), (now - self._last) / self._since], device=self._fabric.device)
        wish, seconds = self._fabric.all_reduce(mine, reduce_op="max").tolist()
        self._between = min(max(1, int(_SECONDS / max(seconds, 1e-9))), _MOST_STEPS)
        self._since, self._last = 0, time.perf_counter()
        return bool(wish > 0)
