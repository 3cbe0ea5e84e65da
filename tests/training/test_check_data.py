"""Before a training its masks are examined as the doctor does it, and nothing wrong is learned from in silence."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewmask.data.folder import read_folder
from fewmask.errors import UserError
from fewmask.recipe import make_recipe
from fewmask.training.check_data import check_labeled, check_scored, check_unlabeled
from fewmask.training.prepare import prepare_data
from toy import draw_scene


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six labeled images of four classes, and one of val."""
    (tmp_path / "dataset.yaml").write_text("names: [ground, box, tree, car]\n")
    for index in range(7):
        for part, pixels in zip(("images", "masks"), draw_scene(np.random.default_rng(index)), strict=True):
            folder = tmp_path / ("train" if index < 6 else "val") / part
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path


def _change(root: Path, change: object) -> None:
    for path in (root / "train/masks").iterdir():
        labels = np.asarray(Image.open(path))
        Image.fromarray(change(labels)).save(path)  # type: ignore[operator]


def test_good_masks_give_no_word(root: Path) -> None:
    folder = read_folder(root)
    assert check_labeled(folder, folder.train) == ((), ())
    check_scored(folder.val, folder.classes)


def test_levels_are_an_error_with_the_advice_for_all_masks(root: Path) -> None:
    _change(root, lambda labels: labels * np.uint8(85))
    folder = read_folder(root)
    with pytest.raises(UserError, match=r"0\.png: .*values 85, 170.*Write `values: \[0, 85, 170, 255\]`"):
        check_labeled(folder, folder.train)


def test_one_class_is_a_remark_and_the_others_are_missing(root: Path) -> None:
    _change(root, lambda labels: labels * 0)
    folder = read_folder(root)
    found = check_labeled(folder, folder.train)
    assert found.missing == ("box", "tree", "car")
    assert any("every labeled pixel is ground" in remark for remark in found.remarks)


def test_a_mask_of_another_size_and_a_broken_image_are_errors(root: Path) -> None:
    folder = read_folder(root)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(root / "train/masks/2.png")
    with pytest.raises(UserError, match=r"2\.png: the mask is 5 x 5 pixels"):
        check_labeled(folder, folder.train)
    (root / "train/images/0.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"0\.png: the file cannot be read"):
        check_labeled(folder, folder.train)


def test_a_val_without_a_label_is_refused(root: Path) -> None:
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(root / "val/masks/6.png")
    folder = read_folder(root)
    with pytest.raises(UserError, match="val/masks: every pixel of every mask is ignored, so no score"):
        check_scored(folder.val, folder.classes)


def test_masks_among_the_unlabeled_images_are_remarked(root: Path, tmp_path: Path) -> None:
    images = sorted((root / "train/images").iterdir())
    assert check_unlabeled(images) == ()
    path = tmp_path / "0_colors.png"
    labels = np.asarray(Image.open(root / "train/masks/0.png"))
    Image.fromarray(np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0], [0, 0, 9]], np.uint8)[labels]).save(path)
    (remark,) = check_unlabeled([*images * 20, path])
    assert "1 of" in remark
    assert str(path) in remark


def test_the_masks_of_a_source_are_examined_too(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = Path(shutil.copytree(root, tmp_path_factory.mktemp("source") / "other"))
    settings = {"data": {"root": str(root), "labels": 3}, "method": {"name": "joint"}, "source": {"root": str(source)}}
    assert not any(str(source) in remark for remark in prepare_data(make_recipe(settings)).remarks)
    _change(source, lambda labels: labels * np.uint8(85))
    with pytest.raises(UserError, match=r"other/train/masks/0\.png: .*values 85, 170"):
        prepare_data(make_recipe(settings))
