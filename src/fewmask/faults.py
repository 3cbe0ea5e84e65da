"""What a machine refuses, such as memory, threads, open files or rights, as an error for people.

Where the program can say more, it does so itself. This is the last place before a traceback.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from fewmask.errors import UserError

_NO_SPACE = "Free some space there, or choose another place."
_NO_FILES = "Allow more open files (ulimit -n 4096), or set data.workers to 0."
_NO_PROCESS = "Allow more memory and processes (ulimit -v, ulimit -u), or set data.workers to 0."
_NO_MEMORY = "Free it, allow more (ulimit -v), or make batches, crops, images or the network smaller."
_GONE = "Put it back, or correct the path."
_FIXES = {
    errno.EACCES: "Make it readable, and writable if something is to be written there.",
    errno.EPERM: "Make it readable, and writable if something is to be written there.",
    errno.EROFS: "Choose a place that can be written.",
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EMFILE: _NO_FILES,
    errno.ENFILE: _NO_FILES,
    errno.ENAMETOOLONG: "Give a shorter one.",
    errno.ENOENT: _GONE,
    errno.ENOTDIR: _GONE,
    errno.ESTALE: _GONE,
    errno.ENOMEM: _NO_PROCESS,
    errno.EAGAIN: _NO_PROCESS,
    errno.EIO: "Check the disk.",
}
_TEXTS = (  # what libraries say in a RuntimeError, in small letters, and what it means
    ("too many open files", "no more files can be opened", _NO_FILES),
    ("received 0 items of ancdata", "no more files can be opened", _NO_FILES),
    (
        "shared memory",
        "the processes that read ahead have no room in /dev/shm",
        "Set data.workers to 0, or make /dev/shm larger (docker run --shm-size=2g).",
    ),
    ("can't start new thread", "no more threads can be started", _NO_PROCESS),
    ("dataloader worker", "a process that read ahead was ended from outside", "Set data.workers to 0, or free memory."),
    ("defaultcpuallocator", "the memory of the device is full", _NO_MEMORY),
    ("out of memory", "the memory of the device is full", _NO_MEMORY),
    ("could not create a primitive", "the memory of the device is full", _NO_MEMORY),
    ("cannot allocate memory", "the memory of the device is full", _NO_MEMORY),
    ("bad_alloc", "the memory of the device is full", _NO_MEMORY),
    ("alloc_cpu", "the memory of the device is full", _NO_MEMORY),
    *(
        (
            text,
            "another process of the run was lost",
            "Read what that process said, then go on with: fewmask train --resume",
        )
        for text in (
            "connection closed by peer",
            "connection reset by peer",
            "connection refused",
            "broken pipe",
            "socket closed",
            "socket timeout",
            "timed out waiting",
            "gloo",
            "nccl",
        )
    ),
)


@contextmanager
def machine_faults_named() -> Iterator[None]:
    """Inside, what the machine refuses becomes a UserError; every other error stays what it is."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        told = as_user_error(error)
        if told is None:
            raise
        raise told from error


def as_user_error(error: BaseException) -> UserError | None:
    """The error for a person, if the machine refused something; None for any other error."""
    if isinstance(error, OSError) and error.errno is not None:
        what = f"the system refuses it ({os.strerror(error.errno)})"
        return UserError(what, error.filename or "", _FIXES.get(error.errno, ""))
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return UserError("a path or a name is not Unicode", error.object[:80], "Rename the file or the folder.")
    if memory_is_full(error):
        return UserError(f"the memory of the device is full{_amount(error)}", fix=_NO_MEMORY)
    if isinstance(error, RuntimeError):
        told = str(error).lower()
        return next((UserError(what, fix=fix) for text, what, fix in _TEXTS if text in told), None)
    return None


def memory_is_full(error: BaseException) -> bool:
    """Whether Python or a library found too little memory."""
    if isinstance(error, MemoryError):
        return True
    told = str(error).lower()
    return isinstance(error, RuntimeError) and any(fix is _NO_MEMORY and text in told for text, _, fix in _TEXTS)


def _amount(error: BaseException) -> str:
    """How much was asked for, in the words of the library, if it said so."""
    told = str(error).partition("DefaultCPUAllocator: ")[2] or str(error)
    reason = told.partition("\n")[0].partition(". GPU")[0].partition(". Error code")[0].rstrip(".")
    return f" ({reason})" if reason else ""
