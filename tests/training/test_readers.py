"""Processes read ahead only where their batches have room, and where enough files may be open."""

import resource
from collections import namedtuple

import pytest

from fewmask.errors import UserError
from fewmask.recipe import TrainingConfig
from fewmask.training import readers
from fewmask.training.readers import allow_open_files, num_workers

TRAINING = TrainingConfig(labeled_batch=2, unlabeled_batch=6)
CROP = (512, 512)  # a batch of eight takes 8 MiB, and the five of a process 40 MiB
Usage = namedtuple("Usage", "free")


@pytest.fixture(autouse=True)
def of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewmask.training.readers.shutil.disk_usage", lambda _: Usage(100 * 2**20))


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


def test_open_files_are_allowed_as_far_as_the_system_lets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: allowed.append(limits))
    monkeypatch.setattr(readers, "_num_open", lambda: 20)
    for soft, hard in ((20, 4096), (10**6, 10**6), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=(soft, hard): limits)
        allow_open_files(2)
    assert allowed == [(132, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (24, 24))
    allow_open_files(0)
    with pytest.raises(UserError, match=r"data\.workers: 2 processes that read ahead need 132 open files, and 24 a"):
        allow_open_files(2)
