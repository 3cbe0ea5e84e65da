"""The unlabeled training images as a method sees them between two stages: whole, one at a time, on the device."""

from collections.abc import Iterable, Iterator

import torch

from fewmask.data.batch import Unlabeled, to_unit
from fewmask.data.store import Store

Pool = Iterable[Unlabeled]
"""An iterable that may be walked several times; images differ in size and come one by one as [1 3 h w]."""


class PicturePool:
    """The images of a store at training size; empty without a store. Every rank walks all of them."""

    def __init__(self, store: Store | None, device: torch.device) -> None:
        self._store, self._device = store, device

    def __len__(self) -> int:
        return 0 if self._store is None else len(self._store)

    def __iter__(self) -> Iterator[Unlabeled]:
        if self._store is None:
            return
        for index in range(len(self._store)):
            images = to_unit(self._store.picture(index).image[None], self._device)
            yield Unlabeled(images, torch.ones_like(images[:, 0], dtype=torch.bool))
