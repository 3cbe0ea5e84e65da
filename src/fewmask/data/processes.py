"""Does the same to many items in several processes, with the results in the order of the items.

Most of the time of a small image file is spent in Python, which runs one thread at a time. So threads share one core.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_all_start_methods, get_context, parent_process
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 8  # items that a process takes at once; Ctrl-C waits for the chunks that are begun
LOOK = 1.0  # seconds that this process works before it judges how long the rest will take
WORTHWHILE = 10.0  # seconds of work; less is done here sooner than other processes start
MOST = 16  # processes


def in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], module: str, look: float = LOOK
) -> Generator[Result, None, None]:
    """The result of `work` for every item, in order.

    This process begins. If the rest will take long, other processes do it, one for each core. Close the iterator
    (`contextlib.closing`) to end them when it is left early.

    Args:
        work: a function that can be pickled; it must not raise what cannot.
        items: what it takes, which can be pickled too.
        module: the module that `work` comes from; where processes can be forked, it is imported once for all of them.
        look: seconds that this process works before it judges the rest; 0 if others are to do all of it.

    Raises:
        BrokenProcessPool: a process ended in the middle of its work, for example killed for lack of memory.
    """
    begin = time.perf_counter()
    for done, item in enumerate(items):
        spent = time.perf_counter() - begin
        rest = spent * (len(items) - done) / max(done, 1)
        if look == 0 or (spent >= look and rest > WORTHWHILE and num_cores() > 1):
            yield from _by_others(work, items[done:], module)
            return
        yield work(item)


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _by_others(work: Callable[[Item], Result], items: Sequence[Item], module: str) -> Iterator[Result]:
    chunks = [items[first : first + CHUNK] for first in range(0, len(items), CHUNK)]
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    context.set_forkserver_preload([module])
    count = min(num_cores(), MOST, len(chunks))
    pool = ProcessPoolExecutor(count, context, initializer=_belong_to_parent)
    try:
        with _held_interrupts():
            results = [pool.submit(_of_chunk, work, chunk) for chunk in chunks]
        for result in results:
            yield from result.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _of_chunk(work: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [work(item) for item in chunk]


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """A Ctrl-C inside takes effect at the end. Processes that start inside never hear one: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _belong_to_parent() -> None:
    """Ends this process with its parent, however that ends. On Windows it would hear Ctrl-C otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
