"""Runs on two ranks, of which one is killed at a random moment: the other ends in one line, and the run goes on."""

import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from faults.runs import same_weights
from fewmask import cli
from fewmask.run.folder import RunFolder

_PATIENCE = 30  # seconds until the other rank is ended as a launcher ends it, and then until it counts as a hang
_ENDS = (0, 2, 130, -signal.SIGTERM)
"""How the other rank may end: it had finished, it says in one line what was lost, or it was stopped by the launcher."""


def lost_ranks(recipe: Path, folder: Path, wanted: int, seed: int) -> tuple[int, list[str]]:
    """Loses a rank in so many runs; how many of them had not finished before, and what is wrong."""
    draw, wrong, lost = random.Random(seed), [], 0
    unbroken, before = folder / "unbroken", time.perf_counter()
    assert _codes(_start(recipe, unbroken)) == [0, 0]
    usual = time.perf_counter() - before
    for number in range(wanted):
        run = folder / f"lost{number}"
        ranks, which = _start(recipe, run), draw.randrange(2)
        time.sleep(draw.uniform(0, usual))
        os.kill(ranks[which], signal.SIGKILL)
        lost += os.waitstatus_to_exitcode(os.waitpid(ranks[which], 0)[1]) == -signal.SIGKILL
        code, text = _end(ranks[1 - which]), (run.parent / f"{run.name}-{1 - which}").read_text()
        told = [line for line in text.splitlines() if "find_unused_parameters" not in line]  # a note of torch
        if code not in _ENDS or (code == 2 and len(told) != 1):
            wrong.append(f"run {number}: the other rank ended with {code} and said {told[-3:]}")
        if (codes := _codes(_start(recipe, run))) != [0, 0] or not same_weights(run, unbroken):
            wrong.append(f"run {number} went on to {codes}, or to other weights")
        shutil.rmtree(run, ignore_errors=True)
    return lost, wrong


def _start(recipe: Path, run: Path) -> list[int]:
    """Begins the run on two ranks, or goes on with it."""
    words = ["train", "--resume", str(run)] if RunFolder(run).is_begun else ["train", str(recipe), "--out", str(run)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return [_rank(words, rank, port, run.parent / f"{run.name}-{rank}") for rank in range(2)]


def _rank(words: Sequence[str], rank: int, port: str, err: Path) -> int:
    """A process that finds what torchrun tells, and writes what it says of errors into a file."""
    child = os.fork()
    if child:
        return child
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "campaign"}
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= world | own
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stderr.fileno())
    sys.argv = ["fewmask", *words]
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:  # the parent counts it
        print(repr(error), file=sys.stderr)
        code = 1
    sys.stderr.flush()
    os._exit(code)


def _end(child: int) -> int:
    """The exit code of a rank; one that still runs after a while is stopped, and then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _codes(children: Sequence[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
