"""Which of several processes this one is, as torchrun, Fabric and srun say it; needs no torch."""

import os
from typing import NamedTuple

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_SRUN = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")


class Share(NamedTuple):
    """Process `rank` of `processes`; on its machine it is number `local`."""

    rank: int = 0
    processes: int = 1
    local: int = 0


def own_share() -> Share:
    """The share of this process; all of the work if no launcher started it."""
    for names in (_TORCHRUN, _SRUN) if is_task_of_srun() else (_TORCHRUN,):
        if all(os.environ.get(name, "").isdigit() for name in names):
            return Share(*(int(os.environ[name]) for name in names))
    return Share()


def is_task_of_srun() -> bool:
    """Whether this is a task of srun; a job of sbatch without srun, or a shell that srun opened, is one process."""
    return "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
