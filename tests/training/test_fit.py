"""`training.memory=auto`: the sizes that are tried, the search for one that fits, and a trial without a trace."""

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from fewmask.errors import UserError
from fewmask.recipe import Recipe, read_recipe
from fewmask.run.metrics import read_metrics
from fewmask.training.device import launch_fabric
from fewmask.training.fit import fitted, memory
from fewmask.training.fit.ram import added_at_peak
from fewmask.training.fit.search import largest_that_runs, largest_within
from fewmask.training.fit.sizes import Size, sizes_of, with_size
from fewmask.training.prepare import prepare_data
from fewmask.training.start import train_recipe
from toy import write_recipe

CROP = (96, 128)
TIMES = {"steps_per_second", "data_share", "memory_gib"}


def recipe_of(tmp_path: Path, dataset: Path, method: Any = "class_bank", **training: Any) -> Recipe:
    return read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset, method, memory="auto", **training))


def test_sizes_fall_from_the_recipe_to_one_image_and_then_to_small_crops(tmp_path: Path, dataset: Path) -> None:
    sizes = sizes_of(recipe_of(tmp_path, dataset, labeled_batch=4, unlabeled_batch=6, accumulate=2), CROP)
    assert [size[:3] for size in sizes if size.crop == CROP] == [(4, 6, 2), (2, 3, 4), (2, 2, 6), (1, 2, 8), (1, 1, 12)]
    assert [size.crop for size in sizes[4:]] == [(96, 128), (64, 96), (64, 64)]
    assert all(larger.pixels > smaller.pixels for larger, smaller in pairwise(sizes))


@pytest.mark.parametrize(
    ("method", "fewest", "smallest"), [("supervised", 1, (1, 0)), ("supervised", 2, (2, 0)), ("classmix", 1, (2, 2))]
)
def test_a_batch_is_never_smaller_than_the_method_and_the_network_need(
    tmp_path: Path, dataset: Path, method: str, fewest: int, smallest: tuple[int, int]
) -> None:
    sizes = sizes_of(recipe_of(tmp_path, dataset, method, labeled_batch=4), CROP, fewest)
    assert min(sizes)[:2] == smallest
    assert all(size.labeled * size.accumulate >= 4 for size in sizes)


def test_the_recipe_of_a_size_states_what_differs(tmp_path: Path, dataset: Path) -> None:
    recipe = recipe_of(tmp_path, dataset, labeled_batch=4)
    same = with_size(recipe, Size(4, 4, 1, CROP), CROP)
    assert same == recipe.model_copy(update={"training": recipe.training.model_copy(update={"memory": "as_set"})})
    smaller = with_size(recipe, Size(1, 1, 4, (64, 64)), CROP)
    assert (smaller.training.labeled_batch, smaller.training.unlabeled_batch) == (1, None)
    assert (smaller.training.accumulate, smaller.data.crop) == (4, (64, 64))


LADDER = [Size(batch, 0, 8 // batch, (64, 64)) for batch in (8, 4, 2, 1)]


@pytest.mark.parametrize(
    ("budget", "expected"), [(10_000, 8), (899, 4), (500, 4), (499, 2), (400, 2), (399, 1), (200, 1), (199, None)]
)
def test_search_finds_the_largest_size_within_the_budget_and_measures_none_that_is_far_beyond(
    budget: int, expected: int | None
) -> None:
    measured: list[int] = []

    def peak(size: Size) -> int:  # 100 bytes for the network, 100 for an image
        measured.append(100 + 100 * size.labeled)
        return measured[-1]

    found = largest_within(LADDER, peak, budget)
    assert (found and found[0].labeled) == expected
    assert found is None or found[1] == 100 + 100 * found[0].labeled
    assert max(measured[1:], default=0) <= budget
    assert len(measured) == len(set(measured))


def test_search_steps_back_where_memory_grows_faster_than_expected() -> None:
    needs = {1: 100, 2: 150, 4: 190, 8: 1000}
    assert largest_within(LADDER, lambda size: needs[size.labeled], 800) == (LADDER[1], 190)


def test_search_by_trying_takes_the_first_that_runs() -> None:
    tried: list[Size] = []

    def peak(size: Size) -> int | None:
        tried.append(size)
        return size.labeled if size.labeled < 5 else None

    assert largest_that_runs(LADDER, peak) == (LADDER[1], 4)
    assert tried == LADDER[:2]
    assert largest_that_runs(LADDER, lambda _: None) is None


def test_the_peak_of_work_is_measured_and_not_what_was_there_before() -> None:
    def work() -> None:
        torch.ones(64 * 2**20 // 4)

    kept = torch.ones(128 * 2**20 // 4)
    for _ in range(2):  # the second time, the peak of the process so far is as high already
        assert 60 * 2**20 < added_at_peak(work) < 90 * 2**20
    assert added_at_peak(lambda: None) < 16 * 2**20
    assert len(kept)


Peak = Callable[[Recipe, Any, Any, Size], int]


def by_pixels(recipe: Recipe, data: Any, alone: Any, size: Size) -> int:
    """A step needs as many bytes as its images have pixels; it is taken all the same."""
    memory._try(recipe, data, alone, size)
    return size.pixels


@pytest.mark.slow
def test_a_run_fitted_to_memory_is_the_run_with_these_settings_by_hand(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = {"name": "class_bank", "quality_filter": False, "bank_slots": 64}
    recipe = recipe_of(tmp_path, dataset, method, labeled_batch=4, log_every=1)
    monkeypatch.setattr(memory, "_peak_in_ram", by_pixels)
    monkeypatch.setattr(memory, "free_ram", lambda: int(1.3 * 4 * 48 * 64))  # 0.8 of it is a batch of two and two
    text = io.StringIO()
    run = train_recipe(recipe, tmp_path / "fitted", Console(file=text, width=200))
    assert "training.memory=auto: training.labeled_batch=2 training.accumulate=2. A step needs" in text.getvalue()
    by_hand = {"memory": "as_set", "labeled_batch": 2, "accumulate": 2}
    training = recipe.training.model_copy(update=by_hand)
    other = train_recipe(recipe.model_copy(update={"training": training}), tmp_path / "by_hand", Console(quiet=True))
    assert run.recipe() == other.recipe()
    assert run.recipe().training.accumulate == 2
    kept, expected = (
        [{name: value for name, value in row.items() if name not in TIMES} for row in read_metrics(each).rows]
        for each in (run, other)
    )
    assert kept == expected
    assert len(kept) == 4
    weights = [load_file(each.model_file("student")) for each in (run, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_memory_that_is_too_small_for_everything_is_one_line_and_leaves_no_folder(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(tmp_path, dataset, "supervised")
    monkeypatch.setattr(memory, "free_ram", lambda: 1000)
    with pytest.raises(UserError, match=r"training.memory: not even crops of 64 x 48 \(width x height\) fit into the"):
        train_recipe(recipe, tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()


def test_a_network_that_needs_two_images_gets_two(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(tmp_path, dataset, "supervised", labeled_batch=4)
    net = recipe.net.model_copy(update={"arch": "deeplabv3plus", "encoder": "mobilenetv2_050", "options": {}})
    recipe = recipe.model_copy(update={"net": net})
    monkeypatch.setattr(memory, "_peak_in_ram", lambda recipe, data, alone, size: size.pixels)
    monkeypatch.setattr(memory, "free_ram", lambda: int(1.3 * 2 * 48 * 64))
    data, fabric = prepare_data(recipe), launch_fabric(recipe.training)
    found = fitted(recipe, data, fabric, Console(quiet=True))
    assert (found.training.labeled_batch, found.training.accumulate) == (2, 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gets_the_largest_batch_that_runs(tmp_path: Path, dataset: Path) -> None:
    recipe = recipe_of(tmp_path, dataset, "supervised", labeled_batch=4, device="cuda")
    resized = recipe.data.model_copy(update={"resize": 16.0, "largest_crop": 1024})
    recipe = recipe.model_copy(update={"data": resized})
    data, fabric = prepare_data(recipe), launch_fabric(recipe.training)
    free, total = torch.cuda.mem_get_info()
    needed = memory._peak_on_gpu(recipe, data, fabric, sizes_of(recipe, data.crop)[0])
    assert needed is not None
    assert needed < free
    torch.cuda.set_per_process_memory_fraction(0.7 * needed / total + 0.05)
    try:
        assert fitted(recipe, data, fabric, Console(quiet=True)).training.labeled_batch < 4
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
