"""Quantiles of the values that count, without a host sync."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@torch.no_grad()
def quantiles(
    values: Float[Tensor, "*size"], counted: Bool[Tensor, "*size"], shares: Float[Tensor, " q"]
) -> Float[Tensor, " q"]:
    """The values below which these shares of the counted values lie, by linear interpolation as in NumPy.

    Args:
        values: finite where they count.
        counted: which values count.
        shares: in [0, 1].

    Returns:
        One value per share; infinite where nothing counts.
    """
    rising = values.masked_fill(~counted, torch.inf).flatten().sort().values
    last = (counted.sum() - 1).clamp(min=0)
    place = shares * last
    low = place.floor().long()
    high = torch.minimum(low + 1, last)
    return _between(rising.take(low), rising.take(high), (place - low).to(rising))


def _between(low: Tensor, high: Tensor, part: Tensor) -> Tensor:
    """Linear interpolation that keeps two equal infinities."""
    return torch.where(low == high, low, torch.lerp(low, high, part))
