"""Pictures are read and written in pieces as other programs read and write them as a whole."""

import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from fewmask.data.pixels import read_pixels
from fewmask.errors import UserError
from fewmask.use.raster import opened_sink, opened_source, source
from fewmask.use.raster.png import SIGNATURE, chunk
from fewmask.use.raster.sink import Look
from toy import draw_scene, read, save

SCENE = draw_scene(np.random.default_rng(0), 130, 77)[0]
needs_tifffile = pytest.mark.skipif(not find_spec("tifffile"), reason="tifffile is not installed")
needs_rasterio = pytest.mark.skipif(not find_spec("rasterio"), reason="rasterio is not installed")


@pytest.fixture
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture is read in pieces of a few rows."""
    monkeypatch.setattr(source, "WHOLE", 1)
    monkeypatch.setattr("fewmask.use.raster.png._BAND", 2000)
    monkeypatch.setattr("fewmask.use.raster.tiff.WHOLE", 2**20)


def all_rows(path: Path, in_pieces: bool = True) -> Any:
    """Read in pieces that overlap by two rows."""
    parts = []
    with opened_source(path) as picture:
        assert isinstance(picture, source.WholeSource) != in_pieces
        for top in range(0, picture.height, 7):
            first = max(0, top - 2)
            parts.append(picture.rows(first, min(top + 7, picture.height))[top - first :])
    return np.concatenate(parts)


def gray_16() -> Image.Image:
    return Image.fromarray(SCENE[..., 0].astype(np.uint16) * 257)


PICTURES = {
    "rgb": lambda: Image.fromarray(SCENE),
    "rgba": lambda: Image.fromarray(SCENE).convert("RGBA"),
    "gray": lambda: Image.fromarray(SCENE[..., 0]),
    "gray and alpha": lambda: Image.fromarray(SCENE).convert("LA"),
    "palette": lambda: Image.fromarray(SCENE).quantize(200),
    "palette of 4 bits": lambda: Image.fromarray(SCENE).quantize(12),
    "bits": lambda: Image.fromarray(SCENE).convert("1"),
    "16 bits": gray_16,
}


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("name", PICTURES)
def test_a_png_in_pieces_is_the_png_as_a_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    PICTURES[name]().save(path)
    assert np.array_equal(all_rows(path), read_pixels(path))


@pytest.mark.usefixtures("nothing_is_small")
def test_a_damaged_png_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(SCENE).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"picture\.png: the file cannot be read: it is cut off"):
        all_rows(path)
    path.write_bytes(whole[:200] + bytes(100) + whole[300:])
    with pytest.raises(UserError, match=r"picture\.png: the file cannot be read"):
        all_rows(path)


def write_png(path: Path, depth: int, is_interlaced: bool, *behind: tuple[bytes, bytes]) -> None:
    """The scene in colors of 8 or 16 bits; chunks of `behind` lie behind the pixels."""
    pixels = np.repeat(SCENE, 2, axis=2) if depth == 16 else SCENE
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [pixels[y::down, x::across] for y, x, down, across in passes] if is_interlaced else [pixels]
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    header = struct.pack(">IIBBBBB", 77, 130, depth, 2, 0, 0, is_interlaced)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), *behind, (b"IEND", b""))
    path.write_bytes(SIGNATURE + b"".join(chunk(*part) for part in chunks))


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize(
    ("depth", "is_interlaced", "fix"), [(8, True, "without interlacing"), (16, False, "with 8 bits per channel")]
)
def test_a_png_that_cannot_be_read_in_pieces_is_read_at_once_if_it_is_not_too_large(
    depth: int, is_interlaced: bool, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.png"
    write_png(path, depth, is_interlaced)
    assert np.array_equal(all_rows(path, in_pieces=False), SCENE)
    monkeypatch.setattr(source, "_LARGEST", 1000)
    with pytest.raises(UserError, match=rf"is not read in pieces\. Save it {fix}"):
        all_rows(path)


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_picture_is_as_upright_as_a_small_one(
    orientation: int, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, exif = tmp_path / f"picture.{suffix}", Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(SCENE).save(path, exif=exif)
    is_upright = orientation == 1
    reads_pieces = suffix == "png" or (suffix == "tif" and find_spec("tifffile") is not None)
    assert np.array_equal(all_rows(path, in_pieces=is_upright and reads_pieces), read_pixels(path))
    if not is_upright:
        monkeypatch.setattr(source, "_LARGEST", 1000)
        with pytest.raises(UserError, match=r"is not read in pieces\. Save it upright"):
            all_rows(path)


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("is_broken", [False, True])
def test_an_orientation_behind_the_pixels_of_a_png_counts(is_broken: bool, tmp_path: Path) -> None:
    path, exif = tmp_path / "picture.png", Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    content = b"no EXIF" if is_broken else exif.tobytes().removeprefix(b"Exif\0\0")
    write_png(path, 8, False, (b"eXIf", content))
    if is_broken:
        with pytest.raises(UserError, match=r"picture\.png: the file cannot be read"):
            all_rows(path)
    else:
        assert np.array_equal(all_rows(path, in_pieces=False), np.rot90(SCENE, -1))


@pytest.mark.usefixtures("nothing_is_small")
def test_a_large_picture_of_another_format_is_read_at_once_or_says_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.bmp"
    Image.fromarray(SCENE).save(path)
    with opened_source(path) as picture:
        assert np.array_equal(picture.rows(0, 130), SCENE)
    monkeypatch.setattr(source, "_LARGEST", 1000)
    with (
        pytest.raises(UserError, match=r"is not read in pieces\. Save it as PNG or as a tiled TIFF"),
        opened_source(path),
    ):
        pass


@needs_tifffile
@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize(
    "options", [{"tile": (32, 48)}, {"rowsperstrip": 9}, {"tile": (64, 64), "compression": "zlib"}]
)
@pytest.mark.parametrize("kind", ["rgb", "gray", "16 bits"])
def test_a_tiff_in_pieces_is_the_tiff_as_a_whole(options: Any, kind: str, tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "picture.tif"
    pixels = {"rgb": SCENE, "gray": SCENE[..., 0], "16 bits": SCENE[..., 0].astype(np.uint16) * 257}[kind]
    tifffile.imwrite(path, pixels, photometric="rgb" if kind == "rgb" else "minisblack", **options)
    expected = SCENE if kind == "rgb" else np.repeat(SCENE[..., :1], 3, axis=2)
    assert np.array_equal(all_rows(path), expected)


@needs_tifffile
@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("kind", ["bits", "palette", "apart", "without its codec", "white is 0", "16 bits, white is 0"])
def test_a_tiff_of_any_kind_is_what_it_is_if_it_is_small(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tifffile

    path, gray = tmp_path / "picture.tif", SCENE[..., 0]
    if kind in PICTURES:
        PICTURES[kind]().save(path)
    elif kind == "apart":
        tifffile.imwrite(path, np.moveaxis(SCENE, 2, 0).copy(), photometric="rgb", planarconfig="separate")
    elif kind == "without its codec":
        Image.fromarray(SCENE).save(path, compression="tiff_lzw")
        monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", {})
    else:
        tifffile.imwrite(path, gray.astype(np.uint16) * 257 if "16" in kind else gray, photometric="miniswhite")
    assert np.array_equal(all_rows(path, in_pieces="white" in kind), read_pixels(path))


@needs_tifffile
@pytest.mark.usefixtures("nothing_is_small")
def test_a_tiff_of_floats_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tifffile

    path = tmp_path / "picture.tif"
    tifffile.imwrite(path, SCENE[..., 0].astype(np.float32), tile=(32, 32))
    with pytest.raises(UserError, match=r"the image holds floats\. Save it with 8 or 16 bits per channel"):
        all_rows(path)
    monkeypatch.setattr(source, "_LARGEST", 1000)
    with pytest.raises(UserError, match=r"float32 levels\. Save it as gray or RGB with 8 or 16 bits"):
        all_rows(path)


@needs_rasterio
@pytest.mark.filterwarnings("ignore:Use `@` matmul")  # of rasterio and affine
def test_a_geotiff_keeps_its_place(tmp_path: Path) -> None:
    import rasterio
    from rasterio.transform import from_origin

    path, target = tmp_path / "field.tif", tmp_path / "mask.tif"
    place = {"crs": "EPSG:32632", "transform": from_origin(500000, 5600000, 0.2, 0.2)}
    with rasterio.open(path, "w", driver="GTiff", height=130, width=77, count=3, dtype="uint8", **place) as dataset:
        dataset.write(np.moveaxis(SCENE, 2, 0))
    labels = SCENE[..., 0] % 4
    palette = np.zeros((256, 3), np.uint8)
    palette[3] = (1, 2, 3)
    with opened_source(path) as picture:
        assert np.array_equal(picture.rows(0, 60), SCENE[:60])
        assert np.array_equal(picture.rows(50, 130), SCENE[50:])
        with opened_sink(target, 130, 77, Look(palette=palette), picture.place) as sink:
            sink.write(labels[:100])
            sink.write(labels[100:])
    with rasterio.open(target) as dataset:
        assert np.array_equal(dataset.read(1), labels)
        assert dataset.crs == place["crs"]
        assert dataset.transform == place["transform"]
        assert dataset.colormap(1)[3][:3] == (1, 2, 3)


@pytest.mark.parametrize("look", [Look(), Look(np.uint16), Look(channels=3), Look(palette=np.ones((256, 3), np.uint8))])
def test_a_picture_that_is_written_in_pieces_is_read_by_pillow(look: Look, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    pixels = SCENE if look.channels == 3 else SCENE[..., 0].astype(look.dtype) * (257 if look.dtype == np.uint16 else 1)
    with opened_sink(path, 130, 77, look) as sink:
        for top in range(0, 130, 50):
            sink.write(pixels[top : top + 50])
    assert np.array_equal(np.asarray(read(path)), pixels)
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]


def test_a_picture_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"mine")
    with pytest.raises(ValueError, match="must match exactly"), opened_sink(path, 130, 77, Look(channels=3)) as sink:
        sink.write(SCENE[:10, :5])  # of another width
    assert path.read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_threads_that_open_pictures_at_once_leave_the_limit_of_pillow(tmp_path: Path) -> None:
    save(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png")
    before, interval = Image.MAX_IMAGE_PIXELS, sys.getswitchinterval()
    assert before is not None
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(source._header, [tmp_path / "a.png"] * 400)) == {
                source._Header("PNG", 16, False, False)
            }
        assert before == Image.MAX_IMAGE_PIXELS
    finally:
        sys.setswitchinterval(interval)
        Image.MAX_IMAGE_PIXELS = before
