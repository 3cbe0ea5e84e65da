"""What a training makes of its recipe before the first step."""

from pathlib import Path

import pytest

from fewmask.data.store import FileStore, MemoryStore
from fewmask.recipe import read_recipe
from fewmask.training.prepare import prepare_data
from toy import HEIGHT, WIDTH, write_recipe

BYTES = 4 * 10 * HEIGHT * WIDTH  # of the four labeled and six unlabeled images


@pytest.mark.parametrize(
    ("environment", "devices", "ranks", "workers"),
    [
        ({}, None, 1, 8),
        ({}, 2, 2, 6),
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, None, 4, 3),  # torchrun on two machines
    ],
)
def test_the_ranks_of_a_machine_share_its_memory_and_its_cores(
    environment: dict[str, str],
    devices: int | None,
    ranks: int,
    workers: int,
    tmp_path: Path,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset, devices=devices))
    for free, kind in ((2 * ranks * BYTES, MemoryStore), (2 * ranks * BYTES - 1, FileStore)):
        monkeypatch.setattr("fewmask.data.store.memory.free_ram", lambda free=free: free)
        data = prepare_data(recipe)
        assert {type(data.labeled), type(data.unlabeled)} == {kind}
        assert data.workers == (0 if kind is MemoryStore else workers)
