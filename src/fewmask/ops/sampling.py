"""Draws rows at random from each class, with results of one size, so that a step stays one static graph."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor


class Drawn(NamedTuple):
    """Rows that were drawn for each of k classes.

    Attributes:
        rows: indices of the drawn rows.
        found: whether a draw holds a row; where a class has fewer rows than there are draws, the last draws hold none.
    """

    rows: Int64[Tensor, "k q"]
    found: Bool[Tensor, "k q"]


@torch.no_grad()
def draw_rows(member: Bool[Tensor, "n k"], most: int) -> Drawn:
    """Draws up to `most` different rows of every class, each row of a class with the same probability.

    Args:
        member: which rows a class may draw; a row may belong to several classes.
        most: the number of draws; if there are fewer rows at all, their number.
    """
    lottery = torch.rand(member.T.shape, device=member.device).masked_fill(~member.T, -1.0)
    tickets, rows = lottery.topk(min(most, len(member)), dim=1)
    return Drawn(rows, tickets >= 0)


@torch.no_grad()
def draw_with_repeats(counts: Int64[Tensor, " k"], shape: tuple[int, ...]) -> Int64[Tensor, "k *shape"]:
    """Numbers from 0 to counts[c] - 1 for each class c, uniform and with repetition; 0 where a count is 0."""
    place = (-1, *[1] * len(shape))
    counts = counts.view(place)
    lottery = torch.rand(len(counts), *shape, device=counts.device)
    return torch.minimum((lottery * counts).long(), (counts - 1).clamp(min=0))  # a product may round up to the count
