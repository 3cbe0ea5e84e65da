"""Which device computes, and an error for a person when its memory is full."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fewmask.errors import UserError
from fewmask.faults import as_user_error, memory_is_full


def choose_device(wanted: str, where: str) -> str:
    """The device `wanted` in the setting or flag `where`: cpu, cuda or mps. `auto` means cuda if it is there, else cpu.

    Raises:
        UserError: there is no such device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return "cuda" if available["cuda"] else "cpu"
    if wanted not in available:
        raise UserError(f"there is no device {wanted!r}", where, "Choose auto, cpu, cuda or mps.")
    if not available[wanted]:
        raise UserError(f"{wanted} is not available here", where, "Choose auto, which takes what there is.")
    return wanted


@contextmanager
def enough_memory(fix: str) -> Iterator[None]:
    """Turns a full memory of a GPU, or of the machine if the system reports it, into an error that says what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        told = as_user_error(error) if memory_is_full(error) else None
        if told is None:
            raise
        raise UserError(told.what, fix=fix) from None
