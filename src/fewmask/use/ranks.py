"""Which of several processes this one is, as torchrun, Fabric and srun say it; needs no torch."""

import os
from typing import NamedTuple

_LAUNCHERS = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))


class Share(NamedTuple):
    """Process `rank` of `processes`; on its machine it is number `local`."""

    rank: int = 0
    processes: int = 1
    local: int = 0


def own_share() -> Share:
    """The share of this process; all of the work if no launcher started it."""
    for names in _LAUNCHERS:
        if all(os.environ.get(name, "").isdigit() for name in names):
            return Share(*(int(os.environ[name]) for name in names))
    return Share()
