"""The doctor compares images: copies, near copies between splits, masks among images, and masks that do not fit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fewmask.data.doctor import Problem, examine
from fewmask.data.doctor.fit import fit_of
from fewmask.data.doctor.picture_facts import looks_drawn

SIDE = 48
COLORS = np.array([(60, 110, 60), (200, 60, 50)])


def _scene(seed: int) -> tuple[Image.Image, Image.Image]:
    """An image of a box on textured ground, and its mask."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    top, left = generator.integers(2, SIDE - 22, 2)
    labels[top : top + 20, left : left + 14] = 1
    coarse = Image.fromarray(generator.integers(0, 90, (6, 6, 3), np.uint8)).resize((SIDE, SIDE))
    pixels = COLORS[labels] + np.asarray(coarse) // 2 + generator.integers(-8, 8, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), Image.fromarray(labels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight labeled train images, two of val."""
    (tmp_path / "dataset.yaml").write_text("names: [ground, box]\n")
    for index in range(10):
        split = "train" if index < 8 else "val"
        for part, picture in zip(("images", "masks"), _scene(index), strict=True):
            (tmp_path / split / part).mkdir(parents=True, exist_ok=True)
            picture.save(tmp_path / split / part / f"{index}.png")
    (tmp_path / "unlabeled").mkdir()
    return tmp_path


def _found(root: Path) -> list[Problem]:
    return [problem for problem in examine(root).problems if problem.level != "note"]


def test_a_healthy_folder_gives_no_warning(folder: Path) -> None:
    assert _found(folder) == []


@pytest.mark.parametrize("change", ["jpeg", "smaller", "brighter"])
def test_a_train_image_in_val_is_found_after_a_change(folder: Path, change: str) -> None:
    picture, mask = _scene(3)
    if change == "smaller":
        picture, mask = picture.resize((36, 36)), mask.resize((36, 36), Image.Resampling.NEAREST)
    if change == "brighter":
        picture = picture.point(lambda level: min(255, level + 10))
    picture.save(folder / "val/images/again.jpg", quality=60 if change == "jpeg" else 95)
    mask.save(folder / "val/masks/again.png")
    (problem,) = _found(folder)
    assert (problem.level, problem.file) == ("warning", "val/images/again.jpg")
    assert problem.text == "nearly the same picture as train/images/3.png"


def test_masks_of_other_images_are_named_worst_first(folder: Path) -> None:
    masks = folder / "train/masks"
    Image.fromarray(np.roll(np.asarray(Image.open(masks / "1.png")), 19, axis=(0, 1))).save(masks / "1.png")
    (problem,) = _found(folder)
    assert (problem.level, problem.file) == ("warning", "train/masks/1.png")
    assert "the mask does not fit its image: 0." in problem.text


def test_masks_that_never_fit_are_said_once(folder: Path) -> None:
    for path in sorted(folder.rglob("masks/*.png")):
        Image.open(path).transpose(Image.Transpose.ROTATE_180).save(path)
    (problem,) = _found(folder)
    assert (problem.level, problem.file) == ("warning", "")
    assert "chance is 0.50" in problem.text


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_a_mask_of_the_image_before_its_exif_rotation_is_an_error(folder: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.open(folder / "train/images/2.png").save(folder / "train/images/2.png", exif=exif)
    (problem,) = [problem for problem in _found(folder) if problem.level == "error"]
    assert problem.file == "train/masks/2.png"
    assert "only before the EXIF rotation" in problem.text


def test_a_mask_among_images_without_masks_is_named(folder: Path) -> None:
    picture, mask = _scene(20)
    picture.save(folder / "unlabeled/photo.png")
    mask.point(lambda value: 255 * value).save(folder / "unlabeled/photo2.png")
    (problem,) = _found(folder)
    assert (problem.level, problem.file) == ("warning", "unlabeled/photo2.png")
    assert "looks like a mask" in problem.text


def test_only_flat_areas_of_few_colors_look_drawn() -> None:
    picture, mask = _scene(0)
    areas = np.asarray(mask)
    blurred = mask.point(lambda value: 255 * value).filter(ImageFilter.GaussianBlur(6)).convert("RGB")
    assert looks_drawn(COLORS.astype(np.uint8)[areas])
    cells = np.asarray(picture) * (areas[..., None] > 0)  # a textured object on black, as under a microscope
    for pixels in (np.asarray(picture), np.asarray(blurred), cells, np.zeros((9, 9, 3), np.uint8)):
        assert not looks_drawn(pixels.astype(np.uint8))


def test_the_fit_is_one_where_all_edges_meet_and_half_without_any_relation() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[20:44, 20:44] = 1
    image = np.repeat(labels[..., None] * np.uint8(200), 3, axis=2)
    assert (fit_of(image, labels) or 0) > 0.98  # pixels beside the end of a border see its edge too
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert fit_of(noise, labels) == pytest.approx(0.5, abs=0.1)
    assert fit_of(image, np.zeros_like(labels)) is None
    assert fit_of(image, np.where(labels > 0, labels, 255).astype(np.uint8)) is None  # beside ignored pixels only
