"""How much memory a piece of work adds to this process at its peak, measured by the system."""

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fewmask.errors import UserError

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def added_at_peak(work: Callable[[], None]) -> int:
    """Bytes that the work adds to the process at its peak. What earlier work needs no more has to be freed before.

    On Linux, the peak of the process so far is forgotten first. On macOS it is not, so less than the peak of earlier
    work counts as 0.

    Raises:
        UserError: the system does not tell the peak of a process.
    """
    _give_back()
    before = _resident()
    work()
    return max(0, _peak() - before)


def _give_back() -> None:
    """Gives freed memory back to the system, which otherwise counts for the process."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _resident() -> int:
    """The present memory of the process in bytes, from which its peak is counted anew."""
    try:
        _CLEAR.write_text(_RESET_PEAK)
        return _from_status("VmRSS:")
    except OSError:
        return _peak()


def _peak() -> int:
    if _STATUS.exists():
        return _from_status("VmHWM:")
    if sys.platform == "win32":
        fix = "Set training.labeled_batch and data.crop yourself."
        raise UserError("the memory of a step cannot be measured on Windows without a GPU", "training.memory", fix)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _from_status(key: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024
