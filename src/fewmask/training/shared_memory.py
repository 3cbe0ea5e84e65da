"""Room in /dev/shm, through which batches come from the processes that read ahead.

Where it is too small, as by default in a container, such a process would be killed while it writes a batch.
"""

import shutil
from pathlib import Path

from fewmask.errors import UserError
from fewmask.recipe import TrainingConfig

_SHM = Path("/dev/shm")
_BATCHES = 5  # of every process: four wait to be taken, and one is being written
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


def _free() -> int:
    """The free bytes; more than anything needs on a system that has no such place."""
    return shutil.disk_usage(_SHM).free if _SHM.is_dir() else 2**62


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
