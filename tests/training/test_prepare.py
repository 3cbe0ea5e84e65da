"""What a training makes of its recipe before the first step."""

from pathlib import Path

import pytest

from fewmask.data.store import FileStore, MemoryStore
from fewmask.recipe import read_recipe
from fewmask.training.prepare import prepare_data
from toy import HEIGHT, WIDTH, write_recipe

BYTES = 4 * 10 * HEIGHT * WIDTH  # of the four labeled and six unlabeled images


@pytest.mark.parametrize(
    ("environment", "devices", "ranks"),
    [
        ({}, None, 1),
        ({}, 2, 2),
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, None, 4),  # torchrun on two machines
    ],
)
def test_pictures_stay_in_memory_where_all_ranks_of_the_machine_have_room_for_them(
    environment: dict[str, str],
    devices: int | None,
    ranks: int,
    tmp_path: Path,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset, devices=devices))
    for free, kind in ((2 * ranks * BYTES, MemoryStore), (2 * ranks * BYTES - 1, FileStore)):
        monkeypatch.setattr("fewmask.data.store.memory._free_bytes", lambda free=free: free)
        data = prepare_data(recipe)
        assert {type(data.labeled), type(data.unlabeled)} == {kind}
        assert (data.workers == 0) == (kind is MemoryStore)
