"""What every store of pictures offers: their number, each picture by its place, and the sizes of all of them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol, runtime_checkable

from fewmask.shapes import ByteImage, ByteLabel


class Picture(NamedTuple):
    """An image and its labels at training size; labels is None for an unlabeled image."""

    image: ByteImage
    labels: ByteLabel | None


@runtime_checkable
class Store(Protocol):
    """Pictures at training size. A place is a number from 0 to the length of the store, and keeps its meaning."""

    def __len__(self) -> int: ...

    def picture(self, place: int) -> Picture:
        """The picture at a place; raises UserError if its files cannot be read."""

    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture, found without decoding any."""


def every_picture(store: Store) -> Iterator[Picture]:
    """All pictures in order, decoded on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(store.picture, range(len(store)))
