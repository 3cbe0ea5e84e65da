"""Every bit depth, mode and mask encoding that Pillow and we can write, and broken files."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.images import read_image, read_mask, read_size
from fewmask.errors import UserError

RED_BLUE = np.array([[[250, 0, 0], [0, 0, 250]]], dtype=np.uint8)  # 1 x 2 pixels
PETS = Classes(names=("background", "cat", "dog"))
BINARY = Classes(names=("background", "cat"), encoding="binary")
COLORED = Classes(
    names=("background", "cat"), encoding="rgb", colors=((0, 0, 0), (255, 128, 1)), ignore_colors=((9, 9, 9),)
)


def _save(path: Path, pixels: object, **options: Any) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    image.save(path, **options)
    return path


def _gray(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)


def _write_png(path: Path, rows: list[bytes], width: int, depth: int, color_type: int) -> Path:
    """A PNG of a kind that Pillow reads but does not write: 16-bit colors, 2- and 4-bit gray."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return path


# images


def test_images_too_large_for_pillow_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match="more than 178 million pixels") as caught:
        read_image(_save(tmp_path / "b.png", np.zeros((10, 25, 3), np.uint8)))
    assert "DOS" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(UserError, match=r"folder.png: the file cannot be read: Is a directory. "):
        read_image(tmp_path / "folder.png")
    with pytest.raises(UserError, match=r"link.png: the link leads nowhere"):
        read_image(tmp_path / "link.png")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_rgb_images_keep_their_channels(tmp_path: Path, suffix: str) -> None:
    image = read_image(_save(tmp_path / f"a.{suffix}", RED_BLUE, **({"lossless": True} if suffix == "webp" else {})))
    assert image.dtype == torch.uint8
    assert image.tolist() == [[[250, 0]], [[0, 0]], [[0, 250]]]


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK"])
def test_other_color_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    image = read_image(_save(tmp_path / "a.tif", Image.fromarray(RED_BLUE).convert(mode)))
    assert image.shape == (3, 1, 2)
    assert image.permute(1, 2, 0).numpy() == pytest.approx(RED_BLUE.astype(float), abs=8)


def test_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    picture = Image.fromarray(RED_BLUE).convert("P", palette=Image.Palette.ADAPTIVE)
    image = read_image(_save(tmp_path / "a.png", picture, transparency=b"\x00\x80"))
    assert image[0].max() == 250


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_gray_images_fill_three_channels(tmp_path: Path, mode: str) -> None:
    image = read_image(_save(tmp_path / "a.png", Image.fromarray(_gray([0, 255])).convert(mode)))
    assert image.tolist() == [[[0, 255]]] * 3


@pytest.mark.parametrize(("suffix", "dtype"), [("png", "uint16"), ("tif", "uint16"), ("tif", "int32")])
def test_16_bit_gray_scales_the_full_range(tmp_path: Path, suffix: str, dtype: str) -> None:
    path = _save(tmp_path / f"a.{suffix}", np.array([[0, 128, 129, 257 * 7, 65535]], dtype=dtype))
    assert read_image(path).tolist() == [[[0, 0, 1, 7, 255]]] * 3


def test_16_bit_colors_keep_their_upper_byte(tmp_path: Path) -> None:
    path = _write_png(tmp_path / "a.png", [struct.pack(">3H", 0x8040, 0x0001, 0xFFFF)], 1, depth=16, color_type=2)
    assert read_image(path).flatten().tolist() == [128, 0, 255]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exif_rotation_is_applied_to_pixels_and_size(tmp_path: Path, suffix: str) -> None:
    picture = np.zeros((8, 16, 3), dtype=np.uint8)
    picture[:, :8] = 255  # the left half is white: at the top once the picture is turned clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    path = _save(tmp_path / f"a.{suffix}", picture, exif=exif)
    image = read_image(path)
    assert image.shape == (3, 16, 8)
    assert image[:, :6].min() > 250
    assert image[:, 10:].max() < 5
    assert read_size(path) == (16, 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
def test_size_is_height_then_width(tmp_path: Path, suffix: str) -> None:
    path = _save(tmp_path / f"a.{suffix}", np.zeros((5, 9, 3), dtype=np.uint8))
    assert read_size(path) == (5, 9) == tuple(read_image(path).shape[1:])


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_truncated_image_is_a_named_error_though_its_size_is_known(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = _save(tmp_path / f"a.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_image(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"no image at all"])
def test_file_that_is_no_image_is_a_named_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (read_image, read_size, lambda file: read_mask(file, PETS)):
        with pytest.raises(UserError, match=r"a\.png: the file cannot be read"):
            read(path)


def test_missing_file_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("pixels", [np.ones((2, 2), dtype=np.float32), np.full((2, 2), 70000, dtype=np.int32)])
def test_images_of_floats_or_32_bits_are_refused(tmp_path: Path, pixels: NDArray[Any]) -> None:
    with pytest.raises(UserError, match="8 or 16 bits"):
        read_image(_save(tmp_path / "a.tif", pixels))


# masks


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_index_masks_are_read_from_gray_palette_and_equal_channels(tmp_path: Path, suffix: str, mode: str) -> None:
    values = _gray([0, 1], [2, 255])
    picture = Image.fromarray(values)
    if mode == "P":
        picture = Image.frombytes("P", (2, 2), values.tobytes())
        picture.putpalette([10, 20, 30, 200, 0, 0] * 128)  # of a shorter one Pillow writes fewer bits
    if mode == "RGB":
        picture = picture.convert("RGB")
    label = read_mask(_save(tmp_path / f"a.{suffix}", picture), PETS)
    assert label.dtype == torch.uint8
    assert label.tolist() == [[0, 1], [2, 255]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
def test_mask_values_map_to_positions(tmp_path: Path, dtype: str) -> None:
    classes = Classes(names=("road", "car"), values=(7, 26), ignore=(3,))
    path = _save(tmp_path / "a.tif", np.array([[26, 7, 3, 255]], dtype=dtype))
    assert read_mask(path, classes).tolist() == [[1, 0, 255, 255]]


def test_16_bit_masks_may_hold_large_values(tmp_path: Path) -> None:
    classes = Classes(names=("road", "car"), values=(7000, 65535))
    path = _save(tmp_path / "a.png", np.array([[65535, 7000]], dtype=np.uint16))
    assert read_mask(path, classes).tolist() == [[1, 0]]


@pytest.mark.parametrize("value", [-1, 65536, 1 << 20])
def test_32_bit_values_out_of_range_do_not_wrap_around(tmp_path: Path, value: int) -> None:
    with pytest.raises(UserError, match="holds value"):
        read_mask(_save(tmp_path / "a.tif", np.array([[0, value]], dtype=np.int32)), PETS)


@pytest.mark.parametrize(("depth", "row"), [(2, b"\x18"), (4, b"\x01\x20")])
def test_2_and_4_bit_gray_masks_keep_their_values(tmp_path: Path, depth: int, row: bytes) -> None:
    label = read_mask(_write_png(tmp_path / "a.png", [row], 4, depth=depth, color_type=0), PETS)
    assert label.tolist() == [[0, 1, 2, 0]]


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA"])
def test_binary_masks_in_every_mode(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(_gray([0, 255])).convert(mode)
    assert read_mask(_save(tmp_path / "a.png", picture), BINARY).tolist() == [[0, 1]]


def test_binary_palette_masks_go_by_color_not_by_index(tmp_path: Path) -> None:
    picture = Image.frombytes("P", (2, 1), b"\x00\x01")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    assert read_mask(_save(tmp_path / "a.png", picture, transparency=b"\x00\x80"), BINARY).tolist() == [[1, 0]]


def test_1_bit_masks_are_indices_too(tmp_path: Path) -> None:
    picture = Image.fromarray(_gray([0, 255])).convert("1")
    assert read_mask(_save(tmp_path / "a.png", picture), PETS).tolist() == [[0, 1]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_rgb_masks_are_read_by_color(tmp_path: Path, mode: str) -> None:
    colors = np.array([[[255, 128, 1], [0, 0, 0], [9, 9, 9]]], dtype=np.uint8)
    picture = Image.fromarray(colors).convert(mode, palette=Image.Palette.ADAPTIVE)
    assert read_mask(_save(tmp_path / "a.png", picture), COLORED).tolist() == [[1, 0, 255]]


def test_several_colors_may_mean_one_class(tmp_path: Path) -> None:
    colors = np.array([[[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]]], dtype=np.uint8)
    more_colors = (((1, 1, 1), (2, 2, 2)), ())
    classes = Classes(names=("a", "b"), encoding="rgb", colors=((0, 0, 0), (3, 3, 3)), more_colors=more_colors)
    assert read_mask(_save(tmp_path / "a.png", Image.fromarray(colors)), classes).tolist() == [[0, 0, 0, 1]]


def test_reading_rgb_masks_equals_a_slow_twin(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (20, 3), dtype=np.uint8)
    colors = tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
    classes = Classes(names=tuple(f"class {index}" for index in range(20)), encoding="rgb", colors=colors)
    pixels = palette[rng.integers(0, 20, (13, 17))]
    label = read_mask(_save(tmp_path / "a.png", pixels), classes)
    assert label.tolist() == [[colors.index(tuple(color)) for color in row] for row in pixels.tolist()]


@pytest.mark.parametrize(
    ("pixels", "classes", "message"),
    [
        (
            _gray([0, 23]),
            Classes(names=tuple("abcdefghijklmnopqrstu")),
            r"value 23, but classes are 0-20 and 255 is ig",
        ),
        (_gray([0, 23]), PETS, r"Add class 23 to dataset.yaml or map it to 255"),
        (_gray([0, 3], [4, 2]), PETS, "values 3, 4, but"),
        (_gray([0, 255]), Classes(names=("a", "b"), values=(1, 2)), "encoding: binary"),
        (_gray(list(range(100))), PETS, r"97 values outside the classes \(3, 4, 5, \.\.\.\).*blended edges or JPEG"),
        (RED_BLUE, PETS, "holds colors, but the encoding is index.*encoding: rgb"),
        (_gray([0, 60, 120]), PETS, r"If these are the classes, write `values: \[0, 60, 120\]`"),
        (np.array([[0, 257, 514]], dtype=np.uint16), PETS, r"`values: \[0, 257, 514\]`"),
        (_gray([0, 1, 23]), PETS, r"Add class 23"),
        (_gray([0, 1]), BINARY, "encoding: index"),
        (_gray([0, 1, 2, 255]), BINARY, "more than two classes.*encoding: index"),
        (_gray([0, 3, 250, 255]), BINARY, "blended edges"),
        (_gray([0, 128, 255]), BINARY, r"value 128, but classes are 0, 255\. Set 128 to 0 or 255"),
        (RED_BLUE, BINARY, "encoding: rgb"),
        (RED_BLUE, COLORED, r"colors \(250, 0, 0\), \(0, 0, 250\).*ignore_colors"),
        (_gray([0, 1]), COLORED, r"color \(1, 1, 1\).*encoding: index"),
        (np.array([[0, 1]], dtype=np.uint16), COLORED, "unusual mode I;16"),
    ],
)
def test_wrong_mask_says_what_it_holds_and_the_likely_fix(
    tmp_path: Path, pixels: NDArray[Any], classes: Classes, message: str
) -> None:
    path = _save(tmp_path / "cat_07.png", pixels)
    with pytest.raises(UserError, match=message) as caught:
        read_mask(path, classes)
    assert caught.value.where == str(path)
    assert caught.value.fix


def test_jpeg_mask_is_refused_even_under_another_suffix(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png", np.zeros((8, 8), dtype=np.uint8), format="JPEG")
    with pytest.raises(UserError, match="JPEG, which changes label values"):
        read_mask(path, PETS)


def test_mask_does_not_share_memory_with_the_lookup_table(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png", _gray([0, 1]))
    read_mask(path, PETS).fill_(9)
    assert read_mask(path, PETS).tolist() == [[0, 1]]
