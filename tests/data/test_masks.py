"""Every mask encoding in every mode that Pillow and we can write, and what is said of masks that do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.masks import read_mask
from fewmask.errors import UserError
from picture_files import PETS, RED_BLUE, gray, save, write_png

BINARY = Classes(names=("background", "cat"), encoding="binary")
COLORED = Classes(
    names=("background", "cat"), encoding="rgb", colors=((0, 0, 0), (255, 128, 1)), ignore_colors=((9, 9, 9),)
)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_index_masks_are_read_from_gray_palette_and_equal_channels(tmp_path: Path, suffix: str, mode: str) -> None:
    values = gray([0, 1], [2, 255])
    picture = Image.fromarray(values)
    if mode == "P":
        picture = Image.frombytes("P", (2, 2), values.tobytes())
        picture.putpalette([10, 20, 30, 200, 0, 0] * 128)  # of a shorter one Pillow writes fewer bits
    if mode == "RGB":
        picture = picture.convert("RGB")
    label = read_mask(save(tmp_path / f"a.{suffix}", picture), PETS)
    assert label.dtype == torch.uint8
    assert label.tolist() == [[0, 1], [2, 255]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
def test_mask_values_map_to_positions(tmp_path: Path, dtype: str) -> None:
    classes = Classes(names=("road", "car"), values=(7, 26), ignore=(3,))
    path = save(tmp_path / "a.tif", np.array([[26, 7, 3, 255]], dtype=dtype))
    assert read_mask(path, classes).tolist() == [[1, 0, 255, 255]]


def test_16_bit_masks_may_hold_large_values(tmp_path: Path) -> None:
    classes = Classes(names=("road", "car"), values=(7000, 65535))
    path = save(tmp_path / "a.png", np.array([[65535, 7000]], dtype=np.uint16))
    assert read_mask(path, classes).tolist() == [[1, 0]]


@pytest.mark.parametrize("value", [-1, 65536, 1 << 20])
def test_32_bit_values_out_of_range_do_not_wrap_around(tmp_path: Path, value: int) -> None:
    with pytest.raises(UserError, match="holds value"):
        read_mask(save(tmp_path / "a.tif", np.array([[0, value]], dtype=np.int32)), PETS)


@pytest.mark.parametrize(("depth", "row"), [(2, b"\x18"), (4, b"\x01\x20")])
def test_2_and_4_bit_gray_masks_keep_their_values(tmp_path: Path, depth: int, row: bytes) -> None:
    label = read_mask(write_png(tmp_path / "a.png", [row], 4, depth=depth, color_type=0), PETS)
    assert label.tolist() == [[0, 1, 2, 0]]


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA"])
def test_binary_masks_in_every_mode(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(gray([0, 255])).convert(mode)
    assert read_mask(save(tmp_path / "a.png", picture), BINARY).tolist() == [[0, 1]]


def test_binary_palette_masks_go_by_color_not_by_index(tmp_path: Path) -> None:
    picture = Image.frombytes("P", (2, 1), b"\x00\x01")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    assert read_mask(save(tmp_path / "a.png", picture, transparency=b"\x00\x80"), BINARY).tolist() == [[1, 0]]
    picture.putpalette([128, 0, 0, 0, 0, 0])
    with pytest.raises(UserError, match="holds gray level 38, but classes are 0, 255"):
        read_mask(save(tmp_path / "b.png", picture), BINARY)


def test_1_bit_masks_are_indices_too(tmp_path: Path) -> None:
    picture = Image.fromarray(gray([0, 255])).convert("1")
    assert read_mask(save(tmp_path / "a.png", picture), PETS).tolist() == [[0, 1]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_rgb_masks_are_read_by_color(tmp_path: Path, mode: str) -> None:
    colors = np.array([[[255, 128, 1], [0, 0, 0], [9, 9, 9]]], dtype=np.uint8)
    picture = Image.fromarray(colors).convert(mode, palette=Image.Palette.ADAPTIVE)
    assert read_mask(save(tmp_path / "a.png", picture), COLORED).tolist() == [[1, 0, 255]]


def test_several_colors_may_mean_one_class(tmp_path: Path) -> None:
    colors = np.array([[[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]]], dtype=np.uint8)
    more_colors = (((1, 1, 1), (2, 2, 2)), ())
    classes = Classes(names=("a", "b"), encoding="rgb", colors=((0, 0, 0), (3, 3, 3)), more_colors=more_colors)
    assert read_mask(save(tmp_path / "a.png", Image.fromarray(colors)), classes).tolist() == [[0, 0, 0, 1]]


def test_reading_rgb_masks_equals_a_slow_twin(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (20, 3), dtype=np.uint8)
    colors = tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
    classes = Classes(names=tuple(f"class {index}" for index in range(20)), encoding="rgb", colors=colors)
    pixels = palette[rng.integers(0, 20, (13, 17))]
    label = read_mask(save(tmp_path / "a.png", pixels), classes)
    assert label.tolist() == [[colors.index(tuple(color)) for color in row] for row in pixels.tolist()]


@pytest.mark.parametrize(
    ("pixels", "classes", "message"),
    [
        (
            gray([0, 23]),
            Classes(names=tuple("abcdefghijklmnopqrstu")),
            r"value 23, but classes are 0-20 and 255 is ig",
        ),
        (gray([0, 3], [4, 2]), PETS, "values 3, 4, but"),
        (gray(list(range(100))), PETS, r"97 values outside the classes \(3, 4, 5, \.\.\.\)"),
        (RED_BLUE, PETS, "holds colors, but the encoding is index"),
        (gray([0, 128, 255]), BINARY, r"gray level 128, but classes are 0, 255\."),
        (RED_BLUE, COLORED, r"colors \(250, 0, 0\), \(0, 0, 250\), but only the colors of the 2 classes"),
        (np.array([[0, 1]], dtype=np.uint16), COLORED, "unusual mode I;16"),
        (RED_BLUE, Classes(names=("a", "b"), channel="alpha"), "no channel alpha"),
        (np.array([[0, 0.5]], dtype=np.float32), PETS, "unusual mode F"),
    ],
)
def test_wrong_mask_says_what_it_holds_and_where_advice_is(
    tmp_path: Path, pixels: NDArray[Any], classes: Classes, message: str
) -> None:
    path = save(tmp_path / "cat_07.tif", pixels)
    with pytest.raises(UserError, match=message) as caught:
        read_mask(path, classes)
    assert caught.value.where == str(path)
    assert "fewmask doctor" in caught.value.fix


TWO_PAGES = (gray([0, 1, 0, 1]), gray([0, 0, 2, 2]))


@pytest.mark.parametrize(
    ("pages", "settings", "labels"),
    [
        (TWO_PAGES, {"pages": "first"}, [0, 1, 0, 1]),
        (TWO_PAGES, {"pages": "merge"}, [0, 1, 2, 2]),
        (TWO_PAGES, {"pages": "classes"}, [0, 1, 2, 2]),
        ((*TWO_PAGES, gray([7, 0, 0, 0])), {"pages": "classes"}, [2, 0, 1, 1]),  # a page for the first class, too
        ((gray([0, 255]), gray([255, 0])), {"names": ("a", "b"), "encoding": "binary", "pages": "merge"}, [1, 1]),
    ],
)
def test_pages_are_read_as_dataset_yaml_says_and_never_in_silence(
    tmp_path: Path, pages: tuple[np.ndarray, ...], settings: dict[str, Any], labels: list[int]
) -> None:
    first, *others = (Image.fromarray(page) for page in pages)
    path = save(tmp_path / "a.tif", first, save_all=True, append_images=others)
    classes = Classes(**{"names": ("a", "b", "c"), **settings})
    assert read_mask(path, classes).tolist() == [labels]
    with pytest.raises(UserError, match=f"the mask holds {len(pages)} pages"):
        read_mask(path, classes.model_copy(update={"pages": None}))


def _transparent_palette() -> Image.Image:
    picture = Image.frombytes("P", (3, 1), b"\x00\x01\x01")
    picture.putpalette([9, 9, 9] * 256)
    picture.info["transparency"] = b"\x00\xff"
    return picture


@pytest.mark.parametrize(
    ("pixels", "settings", "labels"),
    [
        (np.array([[[7, 7, 7, 0], [7, 7, 7, 255]]], np.uint8), {"encoding": "binary", "channel": "alpha"}, [0, 1]),
        (np.array([[[7, 0], [7, 1]]], np.uint8), {"channel": "alpha"}, [0, 1]),
        (_transparent_palette(), {"encoding": "binary", "channel": "alpha"}, [0, 1, 1]),
        (np.array([[[0, 9, 9], [1, 5, 3]]], np.uint8), {"channel": "red"}, [0, 1]),
        (np.array([[0, 3, 70000, 255]], np.int32), {"encoding": "instances"}, [0, 1, 1, 1]),
        (gray([0, 3, 255]), {"encoding": "instances", "ignore": (255,)}, [0, 1, 255]),
        (gray([0, 128, 255]), {"encoding": "instances", "ignore": (128,)}, [0, 255, 1]),  # as docs/pre-labels.md says
        (gray([0, 128, 255]), {"encoding": "binary", "ignore": (128,)}, [0, 255, 1]),
        (np.array([[[0, 0, 0], [9, 80, 3]]], np.uint8), {"encoding": "instances"}, [0, 1]),
        (gray([0, 127, 255]), {"names": ("a", "b", "c"), "values": (0, 127, 255)}, [0, 1, 2]),
        (np.array([[0, 1]], np.float32), {}, [0, 1]),
        (gray([0, 1]), {"channel": "alpha"}, [0, 1]),  # as predicted masks are written
        (gray([0, 2, 1]), {"names": ("a", "b", "c"), "pages": "classes"}, [0, 2, 1]),
        (gray([0, 255]), {"pages": "classes"}, [0, 1]),
    ],
)
def test_alpha_channels_objects_and_levels_are_read_by_a_setting(
    tmp_path: Path, pixels: object, settings: dict[str, Any], labels: list[int]
) -> None:
    suffix = "png" if isinstance(pixels, Image.Image) or getattr(pixels, "dtype", None) == np.uint8 else "tif"
    path = save(tmp_path / f"a.{suffix}", pixels)
    assert read_mask(path, Classes(**{"names": ("a", "b"), **settings})).tolist() == [labels]


@pytest.mark.parametrize(("pixels", "mode"), [([0, 255], "L"), ([0, 255], "1")])
def test_tiff_where_0_is_white_is_read_as_shown_or_as_stored(tmp_path: Path, pixels: list[int], mode: str) -> None:
    picture = Image.fromarray(gray(pixels)).convert(mode)
    path = save(tmp_path / "a.tif", picture, tiffinfo={262: 0})
    stored = np.asarray(Image.open(path)).astype(int).tolist()
    shown = read_mask(path, BINARY).tolist()
    assert read_mask(path, BINARY.model_copy(update={"min_is_white": "shown"})).tolist() == shown
    other = read_mask(path, BINARY.model_copy(update={"min_is_white": "stored"})).tolist()
    assert [[1 - label for label in row] for row in other] == shown == [[int(level > 0) for level in stored[0]]]


def test_jpeg_mask_is_refused_even_under_another_suffix(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.zeros((8, 8), dtype=np.uint8), format="JPEG")
    with pytest.raises(UserError, match="JPEG, which changes label values"):
        read_mask(path, PETS)


def test_mask_does_not_share_memory_with_the_lookup_table(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", gray([0, 1]))
    read_mask(path, PETS).fill_(9)
    assert read_mask(path, PETS).tolist() == [[0, 1]]
