"""Tries cases in processes of their own, and judges each: it succeeds, or ends in one line, or something is wrong."""

import os
import resource
import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from fewmask.errors import UserError
from fewmask.faults import as_user_error

Case = Callable[[int], None]
"""Does the case of a number; the number is all that it depends on."""

SECONDS = 20  # of work; a case that works for longer counts as a hang
GIB = 3
_SILENCE = 300  # seconds without a word of a process, which may wait for a busy machine; then it is killed


class Report(NamedTuple):
    """How many cases had which end, and the first lines of what is wrong."""

    counts: Counter[str]
    wrong: list[str]

    @property
    def is_good(self) -> bool:
        """Whether every case succeeded or ended in one line."""
        return not self.wrong


def judge(case: Case, first: int, last: int) -> Report:
    """Tries the cases first..last-1, one after the other; one that ends its process does not end the others."""
    report = Report(Counter(), [])
    number = first
    while number < last:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _try(case, number, last, writer)
        os.close(writer)
        number = _listen(reader, number, child, report)
        os.close(reader)
        os.waitpid(child, 0)
    return report


def _try(case: Case, number: int, last: int, writer: int) -> None:
    """In the process of its own: a line for every case."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # C code writes there, too
    while number < last:
        before = time.process_time()
        try:
            case(number)
            end, text = "succeeded", ""
        except (UserError, OSError, MemoryError) as error:
            told = error if isinstance(error, UserError) else as_user_error(error)
            end, text = ("one line", "") if told and str(told).isprintable() else ("traceback", repr(error))
        except BaseException as error:  # a campaign goes on after anything
            end, text = "traceback", f"{type(error).__name__}: {error}"
        if time.process_time() - before > SECONDS:
            end = "hang"
        is_large = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > GIB * 2**20
        line = f"{number}\t{'memory' if is_large else end}\t{' '.join(text.split())[:300]}\n"
        os.write(writer, line.encode(errors="replace"))
        if is_large:
            break
        number += 1
    os._exit(0)


def _listen(reader: int, number: int, child: int, report: Report) -> int:
    """Counts the ends that a process tells, and returns the number of the next case."""
    told = b""
    while True:
        if not select.select([reader], [], [], _SILENCE)[0]:
            os.kill(child, 9)
            _count(report, number, "hang", "")
            return number + 1
        part = os.read(reader, 65536)
        told += part
        *lines, told = told.split(b"\n")
        for line in lines:
            which, end, text = line.decode().split("\t")
            _count(report, int(which), end, text)
            number = int(which) + 1
        if not part:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT).si_status:  # type: ignore[union-attr]
                _count(report, number, "crash", "")
                return number + 1
            return number


def _count(report: Report, number: int, end: str, text: str) -> None:
    report.counts[end] += 1
    if end not in ("succeeded", "one line"):
        report.wrong.append(f"case {number}: {end} {text}")
