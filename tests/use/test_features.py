"""The feature picture: its numbers, its colors, and that a run does not notice it."""

import csv
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from fewmask.data.classes import Classes
from fewmask.data.store import Picture
from fewmask.errors import UserError
from fewmask.models.build import build_net
from fewmask.recipe import Recipe, read_recipe
from fewmask.run.features import Moment
from fewmask.run.folder import RunFolder
from fewmask.shapes import IGNORE
from fewmask.training.hooks.feature_picture import look_at_features
from fewmask.training.prepare import prepare_data
from fewmask.training.start import train_recipe
from fewmask.use.features import class_distances, look_at, principal_colors
from toy import Child, command, read, save, short_files, write_recipe

Capsys = pytest.CaptureFixture[str]
PALETTE = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]])


def slow_distances(rows: Tensor, labels: Tensor, num_classes: int) -> tuple[float, float]:
    """Every pair of rows, one after the other."""
    within: list[list[float]] = [[] for _ in range(num_classes)]
    between: dict[tuple[int, int], list[float]] = {}
    units = [row.double() / row.double().norm() for row in rows]
    for p, one in enumerate(units):
        for q, other in enumerate(units):
            a, b = int(labels[p]), int(labels[q])
            if p == q or max(a, b) >= num_classes:
                continue
            (within[a] if a == b else between.setdefault((a, b), [])).append(1 - float(one @ other))
    return np.mean([np.mean(found) for found in within if found]), np.mean([np.mean(f) for f in between.values()])


def test_distances_are_those_of_all_pairs() -> None:
    rows = torch.randn(60, 7) + 0.5
    labels = torch.randint(0, 4, (60,))
    labels[:9], labels[9], labels[10:14] = 5, 4, IGNORE  # class 4 has one row, class 5 is void
    found = class_distances(rows, labels, 5)
    assert tuple(found) == pytest.approx(slow_distances(rows, labels, 5), rel=1e-12)
    assert found.ratio == found.inter / found.intra


def test_distances_of_a_case_worked_out_by_hand() -> None:
    rows = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [0.0, 0.0]])
    assert class_distances(rows, torch.tensor([0, 0, 1, IGNORE]), 2) == pytest.approx((1.0, 1.5))
    assert class_distances(rows, torch.tensor([0, IGNORE, 1, 1]), 2) == pytest.approx((1.0, 1.5))  # zeros: 1 from all


@pytest.mark.parametrize("labels", [[IGNORE] * 3, [1, IGNORE, IGNORE], [1, 1, 1], [0, 1, 2]])
def test_where_there_is_no_pair_the_distance_is_not_a_number(labels: list[int]) -> None:
    found = class_distances(torch.randn(3, 4), torch.tensor(labels), 3)
    assert math.isnan(found.intra) == (len(set(labels)) == 3 or IGNORE in labels)
    assert math.isnan(found.inter) == (len(set(labels)) < 3)
    assert math.isnan(found.ratio)


def test_colors_are_near_those_of_the_classes_that_the_features_tell_apart() -> None:
    directions = torch.linalg.qr(torch.randn(16, 3)).Q.T
    labels = torch.randint(0, 3, (300,))
    rows = directions[labels] * torch.rand(300, 1).add(0.5) + 0.05 * torch.randn(300, 16)
    shown = labels.clone()
    shown[::3] = IGNORE  # colored all the same
    colors = principal_colors(rows, shown, PALETTE).double()
    assert (torch.cdist(colors, PALETTE.double()).argmin(dim=1) == labels).all()
    assert torch.equal(
        principal_colors(rows.flip(1), shown, PALETTE).double().round(decimals=-1), colors.round(decimals=-1)
    )


@pytest.mark.parametrize(
    "rows", [torch.zeros(6, 4), torch.randn(6, 1), torch.randn(1, 5), torch.full((6, 4), torch.nan), torch.ones(6, 2)]
)
def test_features_with_little_in_them_have_colors_too(rows: Tensor) -> None:
    labels = torch.arange(len(rows)).clamp(max=3)
    for known in (labels, torch.full_like(labels, IGNORE)):
        assert principal_colors(rows, known, PALETTE).shape == (len(rows), 3)


def toy_picture() -> Picture:
    labels = torch.zeros(18, 34, dtype=torch.uint8)
    labels[:, 14:], labels[:4] = 1, IGNORE
    return Picture(torch.randint(0, 256, (3, 18, 34), dtype=torch.uint8), labels)


def test_a_look_sees_the_picture_without_its_padding_and_leaves_the_network_as_it_was(tiny_net: Any) -> None:
    net = build_net(tiny_net, 2)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    picture, state = toy_picture(), torch.get_rng_state()
    look = look_at(net, [picture, picture], Classes(names=("left", "right")))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())

    with torch.no_grad():
        features = net.eval().features(picture.image[None] / 255)[0]
    assert features.shape[1:] == (24, 40)
    rows = features[:, :18:4, :34:4].flatten(1).T.repeat(2, 1)
    labels = picture.labels[::4, ::4].flatten().long().repeat(2)  # type: ignore[index]
    assert [tuple(found.shape) for found in look.colors] == [(5, 9, 3), (5, 9, 3)]
    assert tuple(look.distances) == pytest.approx(slow_distances(rows, labels, 2), rel=1e-6)


@pytest.mark.parametrize(
    ("method", "stages"),
    [
        ("supervised", [["start", "0"], ["train", "4"]]),
        ("class_bank", [["start", "0"], ["train", "4"]]),
        ("label_contrast", [["start", "0"], ["contrast", "1"], ["train", "4"]]),
    ],
)
def test_a_run_with_the_picture_ends_bit_for_bit_as_one_without(
    method: str, stages: list[list[str]], tmp_path: Path, dataset: Path, capsys: Capsys
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, method, feature_picture=True)
    run, blind = tmp_path / "run", tmp_path / "blind"
    assert command(capsys, "train", recipe, "--out", run).code == 0
    answer = command(capsys, "train", recipe, "--out", blind, "--set", "training.feature_picture=false")
    assert answer.code == 0
    assert not list(blind.glob("features*"))
    models = sorted(path.name for path in run.glob("*.safetensors"))
    assert models == sorted(path.name for path in blind.glob("*.safetensors"))
    for model in models:
        assert (run / model).read_bytes() == (blind / model).read_bytes()

    with (run / "features.csv").open(newline="") as file:
        _, *lines = csv.reader(file)
    assert [line[:2] for line in lines] == stages
    assert lines[0][2:] != lines[-1][2:]
    for line in lines:
        intra, inter, ratio = map(float, line[2:])
        assert ratio == pytest.approx(inter / intra, rel=1e-3)
    picture = np.asarray(read(run / "features.png"))
    assert picture.shape[1] == pytest.approx(408 * (2 + len(stages)), abs=40)
    assert picture.shape[0] > 3 * 300  # three pictures of test


def test_a_run_killed_twice_ends_with_the_picture_of_the_unbroken_one(tmp_path: Path, dataset: Path) -> None:
    method = {"name": "label_contrast", "pseudo_labels": True, "contrast": {"dim": 16}}
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    recipe = write_recipe(tmp_path / "recipe.yaml", data, method, steps=12, feature_picture=True)
    unbroken, run = tmp_path / "unbroken", tmp_path / "run"
    assert Child(tmp_path, "train", recipe, "--out", unbroken).answer().code == 0
    words: list[object] = ["train", recipe, "--out", run]
    for seen in ("0_start", "2_train"):
        child = Child(tmp_path, *words)
        child.wait_for((run / "features" / f"{seen}.safetensors").exists)
        child.signal(signal.SIGKILL)
        child.answer()
        words = ["train", "--resume", run]
        shutil.rmtree(data / "test", ignore_errors=True)  # what was looked at first is looked at again
    assert not (run / "student.safetensors").exists()
    assert Child(tmp_path, *words).answer().code == 0
    assert len(contents(run)) == 8
    assert contents(run) == contents(unbroken)


@pytest.fixture
def recipe(tmp_path: Path, dataset: Path) -> Recipe:
    data = shutil.copytree(dataset, tmp_path / "data")
    return read_recipe(write_recipe(tmp_path / "recipe.yaml", Path(data), "supervised"))


def look(run: RunFolder, recipe: Recipe, stage: int = 0) -> dict[str, Tensor]:
    """The pictures that a first look chooses."""
    run.path.mkdir(exist_ok=True)
    data = prepare_data(recipe)
    look_at_features(run, build_net(recipe.net, len(data.classes)), data, recipe, Moment(stage, f"stage{stage}", stage))
    return load_file(run.features / "pictures.safetensors")


def test_images_that_are_held_out_are_not_looked_at(tmp_path: Path, dataset: Path) -> None:
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    for split in ("val", "test"):
        shutil.rmtree(data / split)
    method = {"name": "fixmatch", "confidence_threshold": "auto"}
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", data, method))
    found = look(RunFolder(tmp_path / "run"), recipe)
    assert sum(name.endswith("image") for name in found) == len(prepare_data(recipe).labeled) == 3, found.keys()


def test_the_network_that_is_looked_at_is_the_student(tmp_path: Path, dataset: Path) -> None:
    method = {"name": "class_bank", "teacher_momentum": 0.99, "bank_slots": 4}
    recipe = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset, method, steps=3, feature_picture=True))
    run, again = train_recipe(recipe, tmp_path / "run", Console(quiet=True)), RunFolder(tmp_path / "again")
    data = prepare_data(recipe)
    for which in ("teacher", "student"):
        net = build_net(recipe.net, len(data.classes))
        net.load_state_dict(load_file(run.model_file(which)))
        again.path.mkdir(exist_ok=True)
        look_at_features(again, net, data, recipe, Moment(1, "train", 3))
        looks = [(folder.features / "1_train.safetensors").read_bytes() for folder in (run, again)]
        assert (looks[0] == looks[1]) == (which == "student")


def test_pictures_are_of_test_else_of_val_else_the_labeled_ones(tmp_path: Path, recipe: Recipe) -> None:
    root = recipe.data.root
    for split, count in (("test", 3), ("val", 3), ("labeled", 4)):
        pictures = look(RunFolder(tmp_path / split), recipe)
        assert set(pictures) == {f"{split}.{i}.{part}" for i in range(count) for part in ("image", "labels")}
        shutil.rmtree(root / split / "masks", ignore_errors=True)


def test_pictures_are_spread_over_the_split_at_training_size_and_large_ones_cut(tmp_path: Path, recipe: Recipe) -> None:
    test = recipe.data.root / "test"
    shutil.rmtree(test)
    for index in range(8):  # gray levels 0, 20, ... 140; every second one has void all over
        save(np.full((20, 500, 3), 20 * index, np.uint8), test / "images" / f"{index}.png")
        save(np.full((20, 500), 255 * (index % 2), np.uint8), test / "masks" / f"{index}.png")
    doubled = recipe.model_copy(update={"data": recipe.data.model_copy(update={"resize": 2.0})})
    pictures = look(RunFolder(tmp_path / "run"), doubled)
    assert [int(pictures[f"test.{index}.image"].max()) for index in range(4)] == [0, 40, 80, 120]
    assert {tuple(pictures[f"test.{index}.labels"].shape) for index in range(4)} == {(40, 768)}
    with (tmp_path / "run" / "features.csv").open(newline="") as file:
        assert list(csv.reader(file))[1][3:] == ["nan", "nan"]  # one class alone is far from nothing


def test_of_many_looks_the_picture_has_six_and_the_table_all(tmp_path: Path, recipe: Recipe) -> None:
    run, widths = RunFolder(tmp_path / "run"), []
    for stage in range(8):
        look(run, recipe, stage)
        with Image.open(run.features_picture) as picture:
            widths.append(picture.width)
    assert widths == sorted(widths)
    assert len(set(widths)) == 6
    assert len(run.features_table.read_text().splitlines()) == 9


@pytest.mark.parametrize("longest", [1000, 40_000])
def test_full_disk_is_one_line(longest: int, tmp_path: Path, recipe: Recipe) -> None:
    with short_files(longest), pytest.raises(UserError, match=r"picture could not be written \(File too large\)"):
        look(RunFolder(tmp_path / "run"), recipe)
    assert not list(tmp_path.rglob("*.part"))
    assert len(look(RunFolder(tmp_path / "run"), recipe)) == 6


def contents(run: Path) -> dict[str, bytes]:
    """Everything there is of the picture: five looks, their pictures, the table and the drawing."""
    files = [*run.glob("features/*"), *run.glob("features.*")]
    return {file.name: file.read_bytes() for file in files}
