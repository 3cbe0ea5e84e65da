"""A process of a comparison.

    python -m fewmask.study.compare run STUDY/jobs/NAME PARENT
    python -m fewmask.study.compare measure STUDY/jobs/NAME PARENT

PARENT is the number of the process that started it. If that one is gone, this one stops as if by Ctrl-C, with a
checkpoint.
"""

import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

from fewmask.study.compare.job import do_job

_SECONDS = 1.0  # between two looks at the process that started this one


def main() -> None:
    """Does the job that the arguments of the process name."""
    warnings.filterwarnings("ignore", module="torch|lightning|timm|tensorboard|PIL")
    task, path, parent = sys.argv[1:]
    if os.name != "nt":  # where a process does not see that another one took the place of its parent
        threading.Thread(target=_stop_with, args=[int(parent)], daemon=True).start()
    sys.exit(do_job(task, Path(path)))


def _stop_with(parent: int) -> None:
    """Asks this process to stop when the process that started it is gone."""
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":  # processes that read files import this module again
    main()
