"""Rows that belong to groups (classes): linear maps and ranks per group, without a host sync."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from fewmask.shapes import RowClasses, Rows, RowScores


def membership(groups: RowClasses, num_groups: int) -> Float[Tensor, "n k"]:
    """The one-hot group of each row; all 0 for a row whose group is not in 0..num_groups-1."""
    return (groups[:, None] == torch.arange(num_groups, device=groups.device)).float()


def grouped_linear(
    rows: Rows, groups: RowClasses, weight: Float[Tensor, "k out d"], bias: Float[Tensor, "k out"]
) -> Float[Tensor, "n out"]:
    """Multiplies each row by the weight of its own group and adds the bias; rows of no group give 0.

    A grouped product needs `d` and `out` to be multiples of 16 bytes: of 4 in float32, of 8 in bfloat16.
    """
    num_groups = len(weight)
    member = membership(groups, num_groups)
    slot = groups.masked_fill((groups < 0) | (groups > num_groups), num_groups)
    product_of = _grouped_product if _groups_cost_no_wait(rows) else _product_with_all
    product = product_of(rows, slot, member, weight.to(rows.dtype))
    return torch.where(member.sum(dim=1, keepdim=True) > 0, product + (member @ bias).to(rows.dtype), 0.0)


def _groups_cost_no_wait(rows: Rows) -> bool:
    """Whether PyTorch's grouped product runs without waiting for the device.

    In bfloat16 on Hopper and later GPUs the product is one kernel. Elsewhere the product is a loop on the host,
    which has to wait for a GPU to tell the sizes of the groups.
    """
    if rows.is_cuda:
        return rows.dtype == torch.bfloat16 and torch.cuda.get_device_capability(rows.device) >= (9, 0)
    return rows.device.type == "cpu"


def _grouped_product(rows: Rows, slot: RowClasses, member: Tensor, weight: Tensor) -> Tensor:
    """The product of the rows of each group, brought side by side in memory, with the group's weight."""
    order = slot.argsort(stable=True)
    ends = member.sum(dim=0).cumsum(dim=0).to(torch.int32)
    # Rows of no group are sorted behind the last group and counted to it: beyond the last end, the product and its
    # gradient are never written and may be NaN.
    ends[-1].fill_(len(rows))  # `ends[-1] = number` would wait for a GPU
    product = F.grouped_mm(rows[order], weight.transpose(1, 2), offs=ends)
    return product[order.argsort()]  # back to the order of the rows


def _product_with_all(rows: Rows, slot: RowClasses, member: Tensor, weight: Tensor) -> Tensor:
    """The product of every row with every weight, of which the own group's is taken: more work, but no wait."""
    num_groups, out, _ = weight.shape
    products = (rows @ weight.flatten(0, 1).T).view(len(rows), num_groups, out)
    own = slot.clamp(max=num_groups - 1)[:, None, None].expand(-1, 1, out)
    return products.gather(1, own)[:, 0]


def rank_in_group(groups: RowClasses, scores: RowScores, num_groups: int) -> Int64[Tensor, " n"]:
    """Place of each row in its group by falling score, from 0; for equal scores the earlier row comes first.

    Rows of no group are ranked among themselves.
    """
    known = (groups >= 0) & (groups < num_groups)
    slot = groups.masked_fill(~known, num_groups)
    by_score = scores.argsort(descending=True, stable=True)
    order = by_score[slot[by_score].argsort(stable=True)]
    sizes = torch.zeros(num_groups + 1, dtype=torch.int64, device=groups.device)
    sizes.scatter_add_(0, slot, torch.ones_like(slot))
    starts = sizes.cumsum(dim=0) - sizes
    place = torch.arange(len(slot), device=groups.device) - starts[slot[order]]
    return torch.empty_like(place).index_copy(0, order, place)
