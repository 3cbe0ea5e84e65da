"""A dataset folder as lists of samples, from names alone."""

import errno
import os
from pathlib import Path

import pytest

from fewmask.data.folder import Sample, read_folder
from fewmask.errors import UserError


def _dataset(root: Path, *files: str) -> Path:
    """Empty files: the folder is read by names, so nothing in them matters."""
    for file in ("dataset.yaml", *files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    (root / "dataset.yaml").write_text("names: [background, cat]\n")
    return root


def test_masks_pair_with_images_by_stem_in_sorted_order(tmp_path: Path) -> None:
    folder = read_folder(_dataset(tmp_path, "train/images/b.JPG", "train/images/a.v2.tif", "train/masks/b.PNG"))
    images, masks = tmp_path / "train/images", tmp_path / "train/masks"
    assert folder.train == (Sample("a.v2", images / "a.v2.tif", None), Sample("b", images / "b.JPG", masks / "b.PNG"))
    assert folder.classes.names == ("background", "cat")


def test_absent_splits_are_empty(tmp_path: Path) -> None:
    folder = read_folder(str(_dataset(tmp_path, "train/images/a.png")))
    assert (folder.unlabeled, folder.val, folder.test) == ((), (), ())


def test_val_and_test_are_read_like_train(tmp_path: Path) -> None:
    files = ("train/images/a.png", "val/images/a.png", "val/masks/a.bmp", "test/images/c.png")
    folder = read_folder(_dataset(tmp_path, *files))
    assert folder.val == (Sample("a", tmp_path / "val/images/a.png", tmp_path / "val/masks/a.bmp"),)
    assert folder.test == (Sample("c", tmp_path / "test/images/c.png", None),)


@pytest.mark.parametrize("place", ["unlabeled", "unlabeled/images"])
def test_unlabeled_images_lie_in_either_place(tmp_path: Path, place: str) -> None:
    folder = read_folder(_dataset(tmp_path, "train/images/a.png", f"{place}/z.webp", f"{place}/b.jpeg"))
    assert [sample.name for sample in folder.unlabeled] == ["b", "z"]
    assert all(sample.mask is None for sample in folder.unlabeled)


def test_hidden_and_foreign_files_are_left_out(tmp_path: Path) -> None:
    files = ("train/images/a.png", "train/images/._a.png", "train/images/notes.txt", "train/masks/Thumbs.db")
    assert [sample.name for sample in read_folder(_dataset(tmp_path, *files)).train] == ["a"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "train: there is no folder `images`.*train/masks"),
        (("Train/images/a.png",), "train: there is no folder `images`. Call it train, not Train"),
        (
            ("images/a.png", "masks/a.png"),
            "train: there is no folder `images`. Move .*/images and .*/masks into .*/train",
        ),
        (
            ("train/images/a.png", "train/labels/a.png"),
            "no folder `masks`, but .* Call it masks if it holds them: labels",
        ),
        (("train/images/a.txt",), "train/images: the folder holds no image"),
        (("train/images/deeper/a.png", "train/masks/a.png"), "train/images: the folder holds no image"),
        (("train/images/a.png", "train/images/a.jpg"), r"a\.png has the same name as a\.jpg"),
        (("train/images/a\udcdf.png",), r"the file name 'a\\udcdf.png' is not Unicode"),
        (("train/images/a.png", "train/masks/a.png", "train/masks/a.tif"), r"a\.tif has the same name as a\.png"),
        (("train/images/a.png", "train/masks/b.png"), r"masks/b\.png: the mask has no image\."),
        (("train/images/a.jpg", "train/masks/a_mask.png"), r"no image \(is it that of a\.jpg\?\)"),
        (("train/images/a.png", "train/masks/a.jpg"), "JPEG changes label values"),
        (("train/images/a.png", "val/images/b.png", "val/masks/c.png"), r"val/masks/c\.png"),
        (("train/images/a.png", "val/b.png"), "val: there is no folder `images`"),
        (("train/images/a.png", "unlabeled/b.png", "unlabeled/b.bmp"), "unlabeled.*has the same name"),
    ],
)
def test_wrong_layout_is_named(tmp_path: Path, files: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_folder(_dataset(tmp_path, *files))
    assert caught.value.fix


def test_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _dataset(tmp_path, "train/images/a.png", "train/masks/a.png")

    def denied(_: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(UserError, match=r"train/images: the folder cannot be read \(Permission denied\)"):
        read_folder(tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
