"""Where a person reads: the console of a command, and its bar."""

import os
import sys
from typing import TextIO, cast

from rich.console import Console
from rich.progress import Progress

from fewmask.cli.lasting_stream import LastingStream


def console() -> Console:
    """Standard output; of several ranks, the first one speaks."""
    launchers = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # of torchrun, Fabric and srun
    rank = next((os.environ[name] for name in launchers if name in os.environ), "0")
    return Console(file=cast(TextIO, LastingStream(sys.stdout)), quiet=rank != "0")


def progress() -> Progress:
    """A bar for a person who watches; nothing in a file or a pipe."""
    errors = Console(stderr=True)
    return Progress(console=errors, transient=True, disable=not errors.is_terminal)
