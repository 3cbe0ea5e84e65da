"""Gathers rows and sums counts over the ranks of a run; with one rank, both stay as they are."""

from collections.abc import Iterable

import torch
from torch import Tensor, distributed


def num_ranks() -> int:
    """The number of processes of this run."""
    return distributed.get_world_size() if _several() else 1


def this_rank() -> int:
    """The rank of this process, 0..num_ranks-1."""
    return distributed.get_rank() if _several() else 0


def from_all_ranks(rows: Tensor) -> Tensor:
    """The rows [n ...] of every rank in the order of the ranks; n is the same on all ranks."""
    if not _several():
        return rows
    gathered = [torch.empty_like(rows) for _ in range(num_ranks())]
    distributed.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered)


def summed_over_ranks(counts: Tensor) -> Tensor:
    """The sum of a tensor over the ranks."""
    if _several():
        counts = counts.clone()
        distributed.all_reduce(counts)
    return counts


@torch.no_grad()
def take_from_first_rank(tensors: Iterable[Tensor]) -> None:
    """Gives every tensor the values that it has on rank 0, in place."""
    if _several():
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
