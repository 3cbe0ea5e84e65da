"""The origin of a result: the machine, with the precision that it computes in, and the version of the program."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

_DTYPES = {"32": "float32", "bf16": "bfloat16", "16": "float16"}


def machine(precision: str = "auto") -> str:
    """The GPU, or the processor with its cores, threads and the precision that it computes in.

    Args:
        precision: that of `training.precision`.
    """
    import torch

    from fewmask.training.device import precision_on

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    dtype = _DTYPES[precision_on(precision, "cpu")]
    return f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {dtype}"


def precision_in(machine: str) -> str:
    """The precision that the name of a machine ends in; empty for a GPU, whose name says none."""
    last = machine.rpartition(", ")[2]
    return last if last in _DTYPES.values() else ""


def release() -> str:
    """The version of fewmask, which stands for the commit where nobody knows it."""
    return f"fewmask {version('fewmask')}"
