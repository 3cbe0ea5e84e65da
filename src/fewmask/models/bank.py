"""The class-wise memory bank: per class a first-in first-out queue of high-quality feature vectors.

Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank, ICCV 2021, sections 3.4 and 4.2.
"""

import torch
from torch import Tensor, nn

from fewmask.models.ranks import from_all_ranks, num_ranks, this_rank
from fewmask.ops.exact import exact_dtype
from fewmask.ops.groups import rank_in_group
from fewmask.shapes import Bool, Float, Int64


class ClassBank(nn.Module):
    """One buffer of rows per class. It changes in place on the device, is checkpointed, and is equal on every rank.

    Attributes:
        rows: [classes slots dim] float32. The first `filled[c]` rows of class c are in use; their order means nothing.
        scores: [classes slots] float32, the score with which each row came in. The owner of the bank may renew scores.
        filled: [classes] int64 in 0..slots, the number of rows in use.
    """

    rows: Tensor
    scores: Tensor
    filled: Tensor
    _next: Tensor

    def __init__(self, num_classes: int, slots: int = 256, dim: int = 256) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(num_classes, slots, dim))
        self.register_buffer("scores", torch.zeros(num_classes, slots))
        self.register_buffer("filled", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("_next", torch.zeros(num_classes, dtype=torch.int64))

    @property
    def in_use(self) -> Bool[Tensor, "k m"]:
        """Which slots hold a row."""
        return torch.arange(self.rows.shape[1], device=self.rows.device) < self.filled[:, None]

    @property
    def row_classes(self) -> Int64[Tensor, "k m"]:
        """The class of every slot; `num_classes`, which stands for no class, where the slot is not in use."""
        classes = torch.arange(len(self.rows), device=self.rows.device)[:, None]
        return torch.where(self.in_use, classes, len(self.rows))

    def turn(self, step: Int64[Tensor, ""], at_once: int) -> Int64[Tensor, "k t"]:
        """`at_once` slots of each class, which change from step to step until all slots in use have had their turn."""
        offset = torch.arange(at_once, device=self.rows.device)
        filled = self.filled[:, None]
        return torch.where(filled > at_once, (step * at_once + offset) % filled.clamp(min=1), offset)

    @torch.no_grad()
    def push(
        self,
        features: Float[Tensor, "n d"],
        classes: Int64[Tensor, " n"],
        scores: Float[Tensor, " n"],
        per_class: int,
        sources: Int64[Tensor, " n"] | None = None,
        num_sources: int = 1,
        first_ranked_stay: bool = False,
    ) -> None:
        """Adds the `per_class` highest-scored rows of every class; in a full class they replace the oldest rows.

        Args:
            features: [n d] vectors of any length.
            classes: [n] in 0..classes-1; rows of any other value are not taken.
            scores: [n] in any range.
            per_class: rows to take per class, and per source where sources are given.
            sources: [n] in 0..num_sources-1, e.g. the image of each row.
            num_sources: the number of sources.
            first_ranked_stay: the order within a push. If False, rows enter by source, then by falling score. If True,
                they enter by rising score, so that of the oldest push the highest-scored rows are replaced last.

        If more than `slots` rows of one class come at once, the last ones stay.
        """
        ranks = num_ranks()
        if ranks > 1:
            sources = (torch.zeros_like(classes) if sources is None else sources) + this_rank() * num_sources
            features = from_all_ranks(features.to(self.rows))
            classes, scores, sources = map(from_all_ranks, (classes, scores, sources))
            num_sources *= ranks
        if len(features) == 0:
            return
        num_classes, slots, _ = self.rows.shape
        wanted = (classes >= 0) & (classes < num_classes)
        safe_class = classes.masked_fill(~wanted, 0)
        source = torch.zeros_like(classes) if sources is None else sources

        cell = (source * num_classes + safe_class).masked_fill(~wanted, num_sources * num_classes)
        rank = rank_in_group(cell, scores, num_sources * num_classes)
        wanted &= rank < per_class

        # The place of each taken row in its class's queue.
        by_source = -(source * per_class + rank).to(exact_dtype(source.device))
        arrival = -scores if first_ranked_stay else by_source
        place = rank_in_group(safe_class.masked_fill(~wanted, num_classes), arrival, num_classes)
        taken = torch.zeros_like(self.filled).scatter_add_(0, safe_class, wanted.long())
        wanted &= place >= (taken - slots)[safe_class]  # at most one row for a slot
        slot = safe_class * slots + (self._next[safe_class] + place) % slots
        _write(self.rows.view(-1, self.rows.shape[-1]), slot, features, wanted)
        _write(self.scores.view(-1, 1), slot, scores[:, None], wanted)
        self._next.copy_((self._next + taken) % slots)
        self.filled.copy_((self.filled + taken).clamp(max=slots))

    @torch.no_grad()
    def append(self, rows: Float[Tensor, "k n d"], wanted: Bool[Tensor, "k n"]) -> None:
        """Adds rows that were drawn for each class, in their order; in a full class they replace the oldest rows.

        Args:
            rows: vectors of any length; at most as many as there are slots.
            wanted: which of them are added. Their scores are 0.
        """
        of_ranks = (from_all_ranks(each).chunk(num_ranks()) for each in (rows.to(self.rows), wanted))
        for of_rank in zip(*of_ranks, strict=True):
            self._append(*of_rank)

    def _append(self, rows: Tensor, wanted: Tensor) -> None:
        slots, taken = self.rows.shape[1], wanted.sum(dim=1)
        # A row that is not wanted writes back the content of a slot behind those of the wanted rows.
        place = torch.where(wanted, wanted.cumsum(dim=1), taken[:, None] + (~wanted).cumsum(dim=1)) - 1
        slot = (self._next[:, None] + place) % slots
        here = slot[:, :, None].expand(-1, -1, rows.shape[2])
        self.rows.scatter_(1, here, torch.where(wanted[:, :, None], rows, self.rows.gather(1, here)))
        self.scores.scatter_(1, slot, self.scores.gather(1, slot) * ~wanted)
        self._next.copy_((self._next + taken) % slots)
        self.filled.copy_((self.filled + taken).clamp(max=slots))


def _write(slots: Tensor, slot: Tensor, rows: Tensor, wanted: Tensor) -> None:
    """Writes the wanted rows without telling the host how many they are: other rows repeat the first wanted write.

    If no row is wanted, all rows write back the content of the first slot.
    """
    rows = rows.to(slots)
    first = wanted.long().argmax(dim=0, keepdim=True)  # one index in a list: a single index would wait for the device
    any_wanted = wanted[first]
    spare_slot = torch.where(any_wanted, slot[first], 0)
    spare_row = torch.where(any_wanted[:, None], rows[first], slots[:1])
    slots[torch.where(wanted, slot, spare_slot)] = torch.where(wanted[:, None], rows, spare_row)
