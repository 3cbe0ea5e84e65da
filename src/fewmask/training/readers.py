"""How many processes may read ahead: their batches come through /dev/shm, each in files that stay open for a while.

Where /dev/shm is too small, as by default in a container, such a process would be killed while it writes a batch. Where
too few files may be open, the run would wait for a batch that cannot be sent.
"""

import shutil
import sys
from pathlib import Path

from fewmask.errors import UserError
from fewmask.recipe import TrainingConfig

_SHM = Path("/dev/shm")
_BATCHES = 5  # of every process: four wait to be taken, and one is being written
_FILES = 40  # of every process: five batches of five tensors, and its queues
_OTHER_FILES = 32  # that a run opens besides: its log, its checkpoints, and images
_BYTES = 4  # of a pixel: three of the image, and one of its label, or of whether it is valid


def num_workers(wanted: int | None, most: int, training: TrainingConfig, crop: tuple[int, int], num_ranks: int) -> int:
    """How many processes of a rank may read ahead.

    Args:
        wanted: their number in the recipe; None: `most`, or fewer if more have no room.
        most: the largest number that is useful.
        training: the sizes of the batches.
        crop: (height, width) of every picture of a batch.
        num_ranks: processes of the run on this machine, each of which has readers of its own.

    Raises:
        UserError: the processes that the recipe wants have no room.
    """
    num_pictures = training.labeled_batch + (training.unlabeled_batch or training.labeled_batch)
    each = _BATCHES * num_pictures * crop[0] * crop[1] * _BYTES * num_ranks
    with_room = _free() // each
    if wanted is None:
        return min(most, with_room)
    if wanted > with_room:
        what = (
            f"{wanted} processes that read ahead need {_mib(wanted * each)} of {_SHM}, which has {_mib(_free())} free"
        )
        fix = f"Set data.workers={with_room}, or make {_SHM} larger (docker run --shm-size=2g)."
        raise UserError(what, "data.workers", fix)
    return wanted


def allow_open_files(workers: int) -> None:
    """Allows this process as many open files as it needs with processes that read ahead.

    Raises:
        UserError: the system forbids it.
    """
    if not workers or sys.platform == "win32":
        return
    import resource

    needed = _num_open() + _FILES * workers + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        what = f"{workers} processes that read ahead need {needed} open files, and {hard} are allowed"
        raise UserError(what, "data.workers", "Allow more (ulimit -n 4096), or set data.workers=0.")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _num_open() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def _free() -> int:
    """The free bytes; more than anything needs on a system that has no such place."""
    return shutil.disk_usage(_SHM).free if _SHM.is_dir() else 2**62


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
