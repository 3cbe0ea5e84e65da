"""Unlabeled images of another kind are told before the run, and images of one kind are not."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewmask.methods import DEMO
from fewmask.recipe import make_recipe
from fewmask.training import likeness
from fewmask.training.build import new_method
from fewmask.training.likeness import compare_images
from fewmask.training.prepare import prepare_data
from toy import NET, command, save, write_recipe

SHARED = Path(__file__).parents[3] / "shared"
CAMVID = SHARED / "data/camvid"
WEIGHTS = SHARED / "weights/mobilenetv2_100_imagenet.safetensors"


def remarks(root: Path, labels: Any = None, net: dict[str, Any] | None = None) -> tuple[str, ...]:
    """What is said of the folder before a run."""
    data = {"root": str(root), "labels": labels, "crop": 64}
    recipe = make_recipe({"data": data, "net": net or NET, "method": "fixmatch"})
    found = prepare_data(recipe)
    return compare_images(new_method(recipe, found).student, found, recipe.method.name)


@pytest.fixture
def root(dataset: Path, tmp_path: Path) -> Path:
    """A folder of one's own, with four labeled and six unlabeled images of colored boxes."""
    return Path(shutil.copytree(dataset, tmp_path / "data"))


def weave(index: int) -> Any:
    """An image of fine stripes, unlike any scene."""
    generator = np.random.default_rng(index)
    stripes = np.arange(64) % (2 + index % 3) == 0
    return (
        np.where(stripes[None, :, None], 250, generator.integers(150, 200, (48, 64, 1))).astype(np.uint8).repeat(3, 2)
    )


def test_images_of_one_kind_give_no_word_and_stripes_give_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", root, "fixmatch", steps=1)
    answer = command(capsys, "train", recipe, "--out", tmp_path / "alike")
    assert "look unlike" not in answer.out + answer.err
    for index, path in enumerate(sorted((root / "unlabeled").iterdir())):
        save(weave(index), path)
    answer = command(capsys, "train", recipe, "--out", tmp_path / "unlike")
    assert answer.code == 0
    told = " ".join((answer.out + answer.err).split())
    assert "The unlabeled images look unlike the labeled ones, most of all" in told
    assert "Such images help if those that you will predict are like them" in told
    assert f"`--baseline` compares, and `--method {DEMO}` gained from such images in the demo." in told


def test_two_labeled_images_say_too_little(root: Path) -> None:
    for index, path in enumerate(sorted((root / "unlabeled").iterdir())):
        save(weave(index), path)
    assert len(remarks(root)) == 1  # of four labeled images
    assert remarks(root, labels=2) == ()


@pytest.mark.slow
@pytest.mark.skipif(not (CAMVID.exists() and WEIGHTS.exists()), reason="CamVid or MobileNetV2 is not in ../shared")
def test_twelve_masks_of_camvid_raise_no_false_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "_MOST_IMAGES", 24)
    net = {"encoder": "mobilenetv2_100", "weights": str(WEIGHTS)}
    assert remarks(CAMVID, str(CAMVID / "splits/1_30/seed0.txt"), net) == ()
