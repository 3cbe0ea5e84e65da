"""A dataset folder as lists of samples, from names alone."""

import errno
import os
from pathlib import Path

import pytest

from fewmask.data.folder import Sample, read_folder, survey_folder
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


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/train/{}.jpg", "masks/train/{}.png"),
        ("images/training/{}.jpg", "annotations/training/{}.png"),
        ("img_dir/train/{}.jpg", "ann_dir/train/{}.png"),
        ("train/Images/{}.jpg", "train/Labels/{}.png"),
        ("Train/images/{}.jpg", "Train/masks/{}.gif"),
        ("train_images/{}.jpg", "train_masks/{}.png"),
        ("train/{}.jpg", "train_masks/{}_mask.gif"),
        ("Train/{}.png", "Train_GT/{}.png"),
        ("images/{}.jpg", "labels/{}.png"),
        ("train/{}.jpg", "train/{}_mask.png"),
        ("{}.jpg", "{}_mask.png"),
        ("train/images/{}.jpg", "train/images/{}_L.png"),
        ("train/{}.jpg", "train/masks/{}.png"),
        ("train/images/monday/{}.jpg", "train/masks/monday/{}.png"),
        ("train/images/monday/{}.jpg", "train/masks/{}.png"),
        ("train/images/{}.jpg", "train/masks/{}_gt.png"),
        ("train/images/img_{}.jpg", "train/masks/mask_{}.png"),
        ("train/images/{}_training.tif", "train/masks/{}_manual1.gif"),
        ("train/images/IMG_{}.JPG", "train/masks/img_{}.png"),
        ("train/images/caf\u00e9 {}.jpg", "train/masks/cafe\u0301 {}.png"),
    ],
)
def test_usual_folders_and_names_are_read_as_they_are(tmp_path: Path, images: str, masks: str) -> None:
    numbers = [str(number) for number in range(1, 13)]
    files = [pattern.format(number) for number in numbers for pattern in (images, masks)]
    folder = read_folder(_dataset(tmp_path, *files))
    pairs = {(sample.image, sample.mask) for sample in folder.train}
    assert pairs == {(tmp_path / images.format(number), tmp_path / masks.format(number)) for number in numbers}
    assert (folder.unlabeled, folder.val, folder.test) == ((), (), ())


def test_a_mask_that_is_left_over_is_not_given_to_the_next_image(tmp_path: Path) -> None:
    files = ("train/images/a.jpg", "train/images/b.jpg", "train/masks/a.png", "train/masks/b_2.png")
    with pytest.raises(UserError, match=r"b_2\.png: the mask has no image \(is it that of b\.jpg\?\)"):
        read_folder(_dataset(tmp_path, *files))


def test_masks_of_other_images_and_parts_of_names_are_not_taken(tmp_path: Path) -> None:
    folder, mistakes = survey_folder(_dataset(tmp_path, "train/images/1.jpg", "train/masks/12_mask.png"))
    assert folder.train[0].mask is None
    assert [mistake.what for mistake in mistakes] == ["the mask has no image"]


def test_every_split_is_found_in_the_other_order_too(tmp_path: Path) -> None:
    pairs = ("images/{0}/a.png", "masks/{0}/a.png")
    files = [pair.format(split) for split in ("training", "validation", "test") for pair in pairs]
    folder = read_folder(_dataset(tmp_path, *files, "images/unlabeled/b.png"))
    assert [len(getattr(folder, split)) for split in ("train", "unlabeled", "val", "test")] == [1, 1, 1, 1]
    assert all(sample.mask for sample in (*folder.train, *folder.val, *folder.test))


def test_a_public_layout_may_have_classes_of_ones_own(tmp_path: Path) -> None:
    lists = "ImageSets/Segmentation/{}.txt"
    files = [name.format(stem) for stem in "ab" for name in ("JPEGImages/{}.jpg", "SegmentationClass/{}.png")]
    _dataset(tmp_path, *files, lists.format("train"), lists.format("val"))
    for split, name in (("train", "a"), ("val", "b")):
        (tmp_path / lists.format(split)).write_text(f"{name}\n")
    folder = read_folder(tmp_path)
    assert folder.classes.names == ("background", "cat")
    assert [[sample.name for sample in split] for split in (folder.train, folder.val)] == [["a"], ["b"]]
    assert "laid out as in PASCAL VOC" in folder.notes[-1].what


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
        ((), r"there is no folder `train/images`\. Put images in train/images"),
        (("photographs/a.png",), "there is no folder `train/images`, only photographs"),
        (
            ("train/images/a.png", "train/drawn/a.png"),
            "no folder `masks`, but .* Call it masks if .* drawn",
        ),
        (
            ("train/images/train/a.png", "train/images/val/b.png", "train/masks/train/a.png"),
            r"folders called train and val\. Move train/images to images and train/masks to masks, right in the",
        ),
        (
            ("train/images/a.png", "images/train/b.png"),
            "images in train/images and in images/train. Keep one",
        ),
        (("train/images/a.png", "train/gt/a.png", "train/labels/a.png"), "2 folders may .* masks: labels and gt"),
        (("train/images/a.txt",), "train/images: the folder holds no image"),
        (("train/images/a.png", "train/images/a.jpg"), r"a\.png has the same name as a\.jpg"),
        (("train/images/a\udcdf.png",), r"the file name 'a\\udcdf.png' is not Unicode"),
        (("train/images/a.png", "train/masks/a.png", "train/masks/a.tif"), r"a\.tif has the same name as a\.png"),
        (("train/images/a.png", "train/masks/b.png"), r"masks/b\.png: the mask has no image\."),
        (
            ("train/images/1.jpg", "train/images/12.jpg", "train/masks/12_x.png", "train/masks/1_mask_y.png"),
            r"no image \(is it that of 12\.jpg\?\)",
        ),
        (
            ("train/images/a.jpg", "train/masks/a_cat.png", "train/masks/a_dog.png"),
            r"1 images have several masks, such as a_cat\.png, a_dog\.png for a\.jpg\. .*fewmask convert",
        ),
        (("train/images/a.png", "train/masks/a/0.png", "train/masks/a/1.png"), "several masks.*fewmask convert"),
        (
            ("train/1/images/1.png", "train/1/masks/a.png"),
            "folders such as 1 hold an image and its masks.*fewmask conv",
        ),
        (("1/images/1.png", "1/masks/a.png", "2/images/2.png"), "2 folders such as 1 hold an image and its masks"),
        (("val/images/1.png", "val/masks/1.png"), "there is no folder `train/images`, only val"),
        (("mine/images/1.png", "mine/images/2.png", "mine/masks/1.png"), "no folder `train/images`, only mine"),
        (("train/images/a.png", "train/masks/task-3-annotation-9-by-1-tag-cell-0.png"), "Label Studio.*--tasks"),
        (("train/images/a.jpg", "train/masks/a.png", "train/images/a_mask.png"), "named as the mask of a.jpg"),
        (
            ("train/images/a.jpg", "unlabeled/b.jpg", "unlabeled/b_gt.png"),
            r"unlabeled: 1 files are named as masks of the images beside them: b_gt\.png",
        ),
        (("train/images/a.jpg", "unlabeled/b.jpg", "unlabeled/mask_b.png"), "named as masks .*: mask_b"),
        (("train/images/a.jpg", "unlabeled/b.jpg", "unlabeled/masks/b.png"), "unlabeled/masks: this folder of masks"),
        (("train/images/a.jpg", "train/_annotations.coco.json"), "polygons of COCO.*fewmask convert"),
        (("train2017/a.jpg", "annotations/instances_train2017.json"), "polygons of COCO.*fewmask convert"),
        (("train/images/a.png", "train/masks/a.jpg"), "JPEG changes label values"),
        (("train/images/a.png", "val/images/b.png", "val/masks/c.png"), r"val/masks/c\.png"),
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

    images, listed = tmp_path / "train/images", Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: denied(path) if path == images else listed(path))
    with pytest.raises(UserError, match=r"train/images: the folder cannot be read \(Permission denied\)"):
        read_folder(tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
