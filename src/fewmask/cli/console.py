"""The console that a command prints to, and its progress bar."""

import os
import sys
from typing import TextIO, cast

from rich.console import Console
from rich.progress import Progress

from fewmask.cli.lasting_stream import LastingStream


def console() -> Console:
    """The console of standard output; of several ranks, only the first one prints."""
    launchers = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # set by torchrun, Fabric and srun
    rank = next((os.environ[name] for name in launchers if name in os.environ), "0")
    return Console(file=cast(TextIO, LastingStream(sys.stdout)), quiet=rank != "0")


def progress() -> Progress:
    """A progress bar on a terminal; it prints nothing into a file or a pipe."""
    errors = Console(stderr=True)
    return Progress(console=errors, transient=True, disable=not errors.is_terminal)
