"""Every bit depth and mode that Pillow and we can write, and broken files."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.images import read_image, read_size
from fewmask.data.masks import read_mask
from fewmask.errors import UserError
from picture_files import PETS, RED_BLUE, gray, save, write_png

# images


def test_images_too_large_for_pillow_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match="more than 178 million pixels") as caught:
        read_image(save(tmp_path / "b.png", np.zeros((10, 25, 3), np.uint8)))
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
    image = read_image(save(tmp_path / f"a.{suffix}", RED_BLUE, **({"lossless": True} if suffix == "webp" else {})))
    assert image.dtype == torch.uint8
    assert image.tolist() == [[[250, 0]], [[0, 0]], [[0, 250]]]


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK"])
def test_other_color_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    image = read_image(save(tmp_path / "a.tif", Image.fromarray(RED_BLUE).convert(mode)))
    assert image.shape == (3, 1, 2)
    assert image.permute(1, 2, 0).numpy() == pytest.approx(RED_BLUE.astype(float), abs=8)


def test_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    picture = Image.fromarray(RED_BLUE).convert("P", palette=Image.Palette.ADAPTIVE)
    image = read_image(save(tmp_path / "a.png", picture, transparency=b"\x00\x80"))
    assert image[0].max() == 250


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_gray_images_fill_three_channels(tmp_path: Path, mode: str) -> None:
    image = read_image(save(tmp_path / "a.png", Image.fromarray(gray([0, 255])).convert(mode)))
    assert image.tolist() == [[[0, 255]]] * 3


@pytest.mark.parametrize(("suffix", "dtype"), [("png", "uint16"), ("tif", "uint16"), ("tif", "int32")])
def test_16_bit_gray_scales_the_full_range(tmp_path: Path, suffix: str, dtype: str) -> None:
    path = save(tmp_path / f"a.{suffix}", np.array([[0, 128, 129, 257 * 7, 65535]], dtype=dtype))
    assert read_image(path).tolist() == [[[0, 0, 1, 7, 255]]] * 3


def test_16_bit_colors_keep_their_upper_byte(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", [struct.pack(">3H", 0x8040, 0x0001, 0xFFFF)], 1, depth=16, color_type=2)
    assert read_image(path).flatten().tolist() == [128, 0, 255]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exif_rotation_is_applied_to_pixels_and_size(tmp_path: Path, suffix: str) -> None:
    picture = np.zeros((8, 16, 3), dtype=np.uint8)
    picture[:, :8] = 255  # the left half is white: at the top once the picture is turned clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / f"a.{suffix}", picture, exif=exif)
    image = read_image(path)
    assert image.shape == (3, 16, 8)
    assert image[:, :6].min() > 250
    assert image[:, 10:].max() < 5
    assert read_size(path) == (16, 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
def test_size_is_height_then_width(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", np.zeros((5, 9, 3), dtype=np.uint8))
    assert read_size(path) == (5, 9) == tuple(read_image(path).shape[1:])


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_truncated_image_is_a_named_error_though_its_size_is_known(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
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
        read_image(save(tmp_path / "a.tif", pixels))
