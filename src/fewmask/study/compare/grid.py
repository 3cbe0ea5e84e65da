"""Runs a grid: several processes side by side, cheapest first; what failed is kept, and the rest goes on."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from fewmask.study.compare.folder import JobFolder
from fewmask.study.compare.job import DONE, STOPPED
from fewmask.study.compare.launchers import Launcher, Started
from fewmask.training.stopping import Interrupted, stop_flag

_SECONDS = 0.2

Item = TypeVar("Item")


class Task(NamedTuple, Generic[Item]):
    """A process to start, for an item of the grid; `prepare` writes what it needs into its folder."""

    kind: str
    item: Item
    job: JobFolder
    prepare: Callable[[], None]


def run_grid(tasks: Iterable[Task[Item]], launcher: Launcher, settle: Callable[[Task[Item], str], None]) -> None:
    """Starts the tasks in their order, as many at a time as the launcher allows, and waits for all of them.

    Args:
        tasks: the tasks.
        launcher: where their processes run.
        settle: is called after every task, with why it failed; empty if it did not.

    Raises:
        Interrupted: after a first Ctrl-C, SIGTERM or SIGHUP, once every process has stopped.
    """
    waiting = deque(tasks)
    running: dict[Started, Task[Item]] = {}
    with stop_flag() as stopped:
        try:
            while (waiting or running) and not stopped():
                while waiting and len(running) < launcher.jobs:
                    task = waiting.popleft()
                    task.prepare()
                    running[launcher.start(task.kind, task.job)] = task
                _settle(running, settle, is_stopping=False)
                if running:
                    time.sleep(_SECONDS)
        finally:
            for process in running:
                process.stop()
        while running and stopped():
            _settle(running, settle, is_stopping=True)
            time.sleep(_SECONDS)
        if stopped():
            raise Interrupted


def _settle(running: dict[Started, Task[Item]], settle: Callable[[Task[Item], str], None], is_stopping: bool) -> None:
    """Takes the tasks that have ended out of those that run. What we stopped is left for the next command."""
    for process, task in list(running.items()):
        ending = process.ending()
        if ending is None:
            continue
        del running[process]
        if ending.code == DONE:
            settle(task, "")
        elif ending.code != STOPPED:
            settle(task, task.job.failure() or ending.why or f"its process ended with code {ending.code}")
        elif not is_stopping:
            settle(task, "it was stopped from outside")
