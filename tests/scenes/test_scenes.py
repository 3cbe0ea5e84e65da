from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.classes import read_classes
from fewmask.errors import UserError
from fewmask.scenes import SCENE_CLASSES, SCENE_COLORS, draw_scene, write_scenes

Scene = tuple[NDArray[np.uint8], NDArray[np.uint8]]

HEIGHT, WIDTH = 64, 96
SCENE_TWO_COUNTS = [3631, 8973, 5074, 994, 1528, 3095, 730, 551]
SCENE_TWO_COLOR = [113.07, 113.17, 110.28]


@pytest.fixture(scope="module")
def fifty_scenes() -> list[Scene]:
    return [draw_scene(seed, height=HEIGHT, width=WIDTH) for seed in range(50)]


@pytest.fixture(scope="module")
def shares(fifty_scenes: list[Scene]) -> dict[str, float]:
    """The share of all pixels that each class has."""
    labels = np.stack([label for _, label in fifty_scenes])
    return dict(zip(SCENE_CLASSES, (np.bincount(labels.ravel(), minlength=8) / labels.size).tolist(), strict=True))


def test_a_scene_is_bytes_of_the_size_asked_for() -> None:
    image, label = draw_scene(3)
    assert image.shape == (128, 192, 3)
    assert label.shape == (128, 192)
    odd_image, odd_label = draw_scene(3, height=51, width=77)
    assert odd_image.shape == (51, 77, 3)
    assert odd_label.shape == (51, 77)
    assert image.dtype == label.dtype == np.uint8


def test_a_seed_gives_the_same_scene_twice_and_another_seed_another() -> None:
    image, label = draw_scene(11, "dusk", height=HEIGHT, width=WIDTH)
    again_image, again_label = draw_scene(11, "dusk", height=HEIGHT, width=WIDTH)
    other_image, other_label = draw_scene(12, "dusk", height=HEIGHT, width=WIDTH)
    assert np.array_equal(image, again_image)
    assert np.array_equal(label, again_label)
    assert not np.array_equal(image, other_image)
    assert not np.array_equal(label, other_label)


def test_scene_two_is_still_the_scene_that_numbers_were_measured_on() -> None:
    image, label = draw_scene(2)
    np.testing.assert_allclose(np.bincount(label.ravel(), minlength=8), SCENE_TWO_COUNTS, atol=12, rtol=0)
    np.testing.assert_allclose(image.mean((0, 1)), SCENE_TWO_COLOR, atol=0.5, rtol=0)


def test_every_pixel_has_a_class_and_every_class_has_pixels(shares: dict[str, float]) -> None:
    assert len(shares) == 8
    assert min(shares.values()) > 0


def test_people_and_poles_are_rare_and_sky_buildings_and_roads_are_not(shares: dict[str, float]) -> None:
    assert max(shares["person"], shares["pole"]) < 0.015
    assert min(shares["sky"], shares["building"], shares["road"]) > 0.1
    assert shares["car"] > 3 * shares["person"]


def test_no_place_in_the_picture_belongs_to_one_class(fifty_scenes: list[Scene]) -> None:
    labels = np.stack([label for _, label in fifty_scenes])
    most = np.stack([(labels == number).mean(0) for number in range(8)]).max(0)
    guess_by_place = most.mean()
    assert guess_by_place < 0.65


@pytest.mark.parametrize("style", ["dusk", "fog", "night"])
def test_a_style_changes_the_light_and_no_label(style: str, fifty_scenes: list[Scene]) -> None:
    for seed in range(5):
        day_image, day_label = fifty_scenes[seed]
        image, label = draw_scene(seed, style, height=HEIGHT, width=WIDTH)
        assert np.array_equal(label, day_label)
        assert np.abs(image.astype(float) - day_image).mean() > 8


def test_dusk_is_darker_than_day_and_night_than_dusk_and_fog_is_flatter() -> None:
    day, dusk, fog, night = (
        np.stack([draw_scene(seed, style, height=HEIGHT, width=WIDTH)[0] for seed in range(8)])
        for style in ("day", "dusk", "fog", "night")
    )
    assert dusk.mean() < day.mean() - 10
    assert night.mean() < dusk.mean() - 10
    assert fog.std((1, 2, 3)).mean() < 0.8 * day.std((1, 2, 3)).mean()


def test_the_same_scene_is_drawn_at_any_size() -> None:
    for seed in range(4):
        _, large = draw_scene(seed, height=128, width=192)
        _, small = draw_scene(seed, height=HEIGHT, width=WIDTH)
        assert (large[::2, ::2] == small).mean() > 0.9


def test_an_unknown_style_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'dask'.*nearest: dusk"):
        draw_scene(0, "dask")


def test_written_scenes_are_a_dataset_with_unlabeled_images(tmp_path: Path) -> None:
    write_scenes(tmp_path, train=3, labeled=1, val=1, test=1, seed=5)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert files == [
        "dataset.yaml",
        "test/images/0000.png",
        "test/masks/0000.png",
        "train/images/0000.png",
        "train/images/0001.png",
        "train/images/0002.png",
        "train/masks/0000.png",
        "val/images/0000.png",
        "val/masks/0000.png",
    ]
    classes = read_classes(tmp_path)
    assert classes.names == SCENE_CLASSES
    assert classes.colors == SCENE_COLORS
    images = [np.asarray(Image.open(path)) for path in sorted(tmp_path.rglob("images/*.png"))]
    assert len({image.tobytes() for image in images}) == 5


def test_a_written_mask_holds_class_numbers_under_the_colors_of_the_classes(tmp_path: Path) -> None:
    write_scenes(tmp_path, train=1, seed=0, style="fog")
    image, label = draw_scene(0, "fog")
    mask = Image.open(tmp_path / "train/masks/0000.png")
    assert mask.mode == "P"
    assert np.array_equal(np.asarray(mask), label)
    assert np.array_equal(np.asarray(mask.convert("RGB")), np.array(SCENE_COLORS)[label])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "train/images/0000.png")), image)


def test_unlabeled_scenes_take_turns_in_their_styles_and_test_has_its_own(tmp_path: Path) -> None:
    styles = {"unlabeled_styles": ("dusk", "night"), "test_style": "fog"}
    write_scenes(tmp_path, train=3, labeled=1, test=1, size=(64, 96), **styles)  # type: ignore[arg-type]
    expected = {"train/images/0000.png": (0, "day"), "train/images/0001.png": (1, "night")}
    expected |= {"train/images/0002.png": (2, "dusk"), "test/images/0000.png": (3, "fog")}
    for name, (seed, style) in expected.items():
        image = draw_scene(seed, style, height=HEIGHT, width=WIDTH)[0]
        assert np.array_equal(np.asarray(Image.open(tmp_path / name)), image)


def test_several_processes_write_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewmask.scenes.scene.SCENES_PER_PROCESS", 1)
    alone, together = tmp_path / "alone", tmp_path / "together"
    for root, processes in ((alone, 1), (together, 2)):
        write_scenes(root, train=2, labeled=1, test=1, size=(32, 48), processes=processes)
    files = [path.relative_to(alone) for path in sorted(alone.rglob("*.*"))]
    assert files == [path.relative_to(together) for path in sorted(together.rglob("*.*"))]
    assert all((alone / file).read_bytes() == (together / file).read_bytes() for file in files)


def test_more_labeled_scenes_than_scenes_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="5 labeled scenes of 4"):
        write_scenes(tmp_path, train=4, labeled=5)


def test_masks_of_an_earlier_run_cannot_label_new_scenes(tmp_path: Path) -> None:
    write_scenes(tmp_path, train=1)
    with pytest.raises(UserError, match="already holds train"):
        write_scenes(tmp_path, train=1, labeled=0)
