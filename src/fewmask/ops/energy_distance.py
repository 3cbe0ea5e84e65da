"""How unlike two sets of vectors are, beside how unlike they would be by chance.

Székely and Rizzo, Energy statistics: A class of statistics based on distances, Journal of Statistical Planning and
Inference 143 (2013), https://doi.org/10.1016/j.jspi.2013.03.018.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fewmask.shapes import Bool, Float


class Unlikeness(NamedTuple):
    """The energy distance of two sets, and the one that 99 % of the random divisions of their vectors stay below."""

    found: float
    by_chance: float


def unlikeness(some: Float[Tensor, "n d"], others: Float[Tensor, "m d"], num_divisions: int = 200) -> Unlikeness:
    """Compares two sets of vectors; the divisions come from a generator of their own, and are the same at every call.

    Args:
        some: the vectors of one set, at least 2.
        others: the vectors of the other set, at least 2.
        num_divisions: how many random divisions of all vectors, into sets of the same sizes, give `by_chance`.

    Raises:
        ValueError: a set has fewer than 2 vectors.
    """
    if min(len(some), len(others)) < 2:
        raise ValueError("a set of fewer than 2 vectors has no spread")
    rows = torch.cat([some, others]).double()
    first = torch.arange(len(rows)) < len(some)
    generator = torch.Generator().manual_seed(0)
    divisions = [first[torch.randperm(len(rows), generator=generator)] for _ in range(num_divisions)]
    found = energy_distances(torch.cdist(rows, rows), torch.stack([first, *divisions]))
    return Unlikeness(float(found[0]), float(found[1:].quantile(0.99)))


def energy_distances(distances: Float[Tensor, "n n"], divisions: Bool[Tensor, "m n"]) -> Float[Tensor, " m"]:
    """(2 E|x - y| - E|x - x'| - E|y - y'|) / 2 E|x - y| of each division of n vectors into sets of x and of y.

    The estimate has no bias: its mean is about 0 for two sets of one kind, where it can be negative. It is at most 1,
    where each set is a point. Sets whose points are all the same have 0.
    """
    x, y = divisions.to(distances), (~divisions).to(distances)

    def mean(one: Tensor, other: Tensor, pairs: Tensor) -> Tensor:
        return torch.einsum("mi,ij,mj->m", one, distances, other) / pairs

    num_x, num_y = x.sum(dim=1), y.sum(dim=1)
    across = 2 * mean(x, y, num_x * num_y)
    within = mean(x, x, num_x * (num_x - 1)) + mean(y, y, num_y * (num_y - 1))
    return torch.where(across > 0, (across - within) / across.clamp(min=torch.finfo(across.dtype).tiny), 0.0)
