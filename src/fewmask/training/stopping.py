"""Stopping a run between two steps: how a signal asks for it, and how several ranks agree on it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from lightning_fabric import Fabric


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop, and its checkpoint is saved."""


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C, SIGTERM or SIGHUP (a closed terminal) came.

    The step in progress is finished first. A second Ctrl-C stops at once. Under nohup, SIGHUP stays ignored.
    """
    asked = False
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not on Windows
        numbers.append(signal.SIGHUP)

    def ask(_: int, __: FrameType | None) -> None:
        nonlocal asked
        asked = True
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


def all_agree_to_stop(fabric: Fabric, stopped: Callable[[], bool], is_meeting: bool) -> bool:
    """Whether to stop after this step. Several ranks must stop after the same one: they ask each other at meetings."""
    if fabric.world_size == 1:
        return stopped()
    if not is_meeting:
        return False
    votes = fabric.all_reduce(torch.tensor(float(stopped()), device=fabric.device), reduce_op="max")
    return bool(votes > 0)
