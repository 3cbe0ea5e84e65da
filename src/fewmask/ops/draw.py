"""Seeds that depend on where a draw happens, never on what was drawn before, so any step can be replayed alone."""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What a draw is for; draws at equal places for different purposes are independent."""

    WEIGHTS = 0
    STEP = 1
    ORDER = 2
    CROP = 3
    BALANCE = 4


def seed_at(purpose: Purpose, *place: int) -> int:
    """A well-mixed 63-bit seed for a place such as (run seed, stage, step, rank); places must be >= 0."""
    return int(np.random.SeedSequence([purpose, *place]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_draws(seed: int, device: torch.device) -> None:
    """Seeds the draws on the CPU and on the device, which then are those after `torch.manual_seed`.

    That function also notes for every other kind of device where it was called, which takes a millisecond.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
