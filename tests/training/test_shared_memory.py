"""Processes read ahead only where their batches have room."""

from collections import namedtuple

import pytest

from fewmask.errors import UserError
from fewmask.recipe import TrainingConfig
from fewmask.training import shared_memory
from fewmask.training.shared_memory import num_workers

TRAINING = TrainingConfig(labeled_batch=2, unlabeled_batch=6)
CROP = (512, 512)  # a batch of eight takes 8 MiB, and the five of a process 40 MiB
Usage = namedtuple("Usage", "free")


@pytest.fixture(autouse=True)
def of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory.shutil, "disk_usage", lambda _: Usage(100 * 2**20))


def test_as_many_read_ahead_as_have_room_if_the_recipe_leaves_it_open() -> None:
    assert num_workers(None, 8, TRAINING, CROP, 1) == 2
    assert num_workers(None, 1, TRAINING, CROP, 1) == 1
    assert num_workers(None, 8, TRAINING, CROP, 2) == 1
    assert num_workers(None, 8, TRAINING, CROP, 4) == 0


def test_more_than_have_room_are_one_line() -> None:
    assert num_workers(2, 8, TRAINING, CROP, 1) == 2
    assert num_workers(0, 8, TRAINING, CROP, 4) == 0
    with pytest.raises(
        UserError, match=r"3 processes that read ahead need 120 MiB of /dev/shm, which has 100 MiB free"
    ):
        num_workers(3, 8, TRAINING, CROP, 1)
