"""How far bfloat16 may lead from float32: tolerances that follow from the arithmetic and hold on every processor."""

import math

from torch import Tensor

UNIT = 2**-8
"""bfloat16 has 8 bits of significand: one rounding changes a value by a share of at most this."""


def tolerance(num_sums: int) -> float:
    """The largest `error_share` that bfloat16 may make where so many numbers are added up in it.

    A kernel rounds its two inputs and its result. Most kernels add up in float32, but some processors keep partial sums
    in bfloat16: over the taps of a kernel, or, in the gradient of a weight, over the maps of a batch. Roundings are
    independent, so the errors of n of them grow to UNIT * sqrt(n), and not to UNIT * n (Higham and Mary, "A new
    approach to probabilistic rounding error analysis", 2019). The factor 2 is for the part with the worst luck.
    """
    return 2 * UNIT * math.sqrt(num_sums + 3)


def error_share(found: Tensor, exact: Tensor, part: int | None = None) -> float:
    """Root mean square of the error over that of the exact values; `part`: of the worst slice of this dimension."""
    found, exact = found.detach().double(), exact.detach().double()
    errors = (found - exact).square().movedim(part or 0, 0)
    worst = errors.mean() if part is None else errors.reshape(len(errors), -1).mean(dim=1).max()
    return float((worst / exact.square().mean().clamp(min=1e-12)).sqrt())
