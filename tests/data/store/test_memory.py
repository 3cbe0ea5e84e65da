"""Pictures in RAM: those of another store, decoded once, where there is room for them on every rank."""

import pytest
import torch

from fewmask.data.store import MemoryStore, Picture, every_picture, fits_in_memory

FREE = "fewmask.data.store.memory.free_ram"


class CountingStore:
    """Three pictures, and how often each was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 3

    def picture(self, place: int) -> Picture:
        self.asked.append(place)
        return Picture(torch.full((3, 2, 4), place, dtype=torch.uint8), None)

    def sizes(self) -> list[tuple[int, int]]:
        return [(2, 4)] * 3


def test_pictures_are_those_of_the_other_store_each_asked_for_once() -> None:
    files = CountingStore()
    store = MemoryStore(files)
    assert len(store) == 3
    assert store.sizes() == [(2, 4)] * 3
    assert [int(store.picture(place).image[0, 0, 0]) for place in (2, 0, 2, 1, 0)] == [2, 0, 2, 1, 0]
    assert files.asked == [2, 0, 1]
    assert store.picture(1) is store.picture(1)


def test_reading_every_picture_fills_the_memory() -> None:
    files = CountingStore()
    store = MemoryStore(files)
    pictures = list(every_picture(store))
    assert sorted(files.asked) == [0, 1, 2]
    assert all(store.picture(place) is picture for place, picture in enumerate(pictures))
    assert len(files.asked) == 3


def test_pictures_fit_that_take_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FREE, lambda: 2 * 4 * 100 * 50)
    assert fits_in_memory([(100, 50)])
    assert not fits_in_memory([(100, 50), (1, 1)])
    assert not fits_in_memory([(100, 50)], share=0.4)


def test_ranks_on_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FREE, lambda: 4 * 2 * 4 * 100 * 50)
    assert fits_in_memory([(100, 50)], num_ranks=4)
    assert not fits_in_memory([(100, 50)], num_ranks=5)


def test_a_small_data_set_fits_into_this_machine_and_a_huge_one_does_not() -> None:
    assert fits_in_memory([(100, 100)] * 10)
    assert not fits_in_memory([(100_000, 100_000)] * 1000)
