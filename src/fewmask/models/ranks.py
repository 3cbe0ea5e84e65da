"""Gathers rows, sums counts and averages statistics over the ranks of a run; with one rank, all stay as they are."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, distributed, nn

_ALONE = ContextVar("alone", default=False)


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
def average_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Gives every tensor its mean over the ranks, in place, by one message; all are of one type and on one device."""
    if _several() and tensors:
        together = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(together)
        parts = torch.split(together / num_ranks(), [tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, parts, strict=True):
            tensor.copy_(mean.view_as(tensor))


def norm_statistics(module: nn.Module, left_out: Iterable[str] = ()) -> dict[str, Tensor]:
    """The running means and variances of a module's BatchNorms, of any class, by name, without those of `left_out`."""
    others = set(left_out)
    return {
        name: buffer
        for name, buffer in module.named_buffers()
        if name.rsplit(".")[-1] in ("running_mean", "running_var") and name not in others
    }


@torch.no_grad()
def take_from_first_rank(tensors: Iterable[Tensor]) -> None:
    """Gives every tensor the values that it has on rank 0, in place."""
    if _several():
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


@contextmanager
def as_one_rank() -> Iterator[None]:
    """Inside, this process is the only one of its run, even if it is a rank of several: it waits for no other."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def _several() -> bool:
    return (
        not _ALONE.get()
        and distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
