"""A store that keeps in RAM what another store has decoded, and a check that the RAM is large enough."""

from collections.abc import Sequence

from fewmask.data.ram import free_ram
from fewmask.data.store.store import Picture, Store


class MemoryStore:
    """The pictures of another store: the first access decodes, and every later one costs nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: list[Picture | None] = [None] * len(store)

    def __len__(self) -> int:
        return len(self._kept)

    def picture(self, place: int) -> Picture:
        """The picture at a place; every access returns the same object."""
        picture = self._kept[place]
        if picture is None:
            picture = self._kept[place] = self._store.picture(place)
        return picture

    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture of the other store."""
        return self._store.sizes()


def fits_in_memory(sizes: Sequence[tuple[int, int]], num_ranks: int = 1, share: float = 0.5) -> bool:
    """Whether pictures of these sizes take at most `share` of the free RAM when every rank keeps all of them.

    A pixel takes 3 bytes of image and 1 of label.

    Args:
        sizes: (height, width) of each picture.
        num_ranks: processes of the run on this machine, each of which keeps all pictures.
        share: the largest share of the free RAM, in [0, 1].
    """
    needed = 4 * sum(height * width for height, width in sizes)
    return num_ranks * needed <= share * free_ram()
