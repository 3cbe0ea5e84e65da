"""Reads one image or mask file into a tensor: every bit depth, mode and mask encoding, and clear errors."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fewmask.data.classes import Classes
from fewmask.data.opening import opened
from fewmask.errors import UserError
from fewmask.shapes import IGNORE, ByteImage, ByteLabel

UNKNOWN = 254  # in a lookup table: neither a class nor ignored
MANY_VALUES = 20  # this many unknown values come from blended edges, not from forgotten classes
GRAY_STEPS = {"L;2": 85, "L;4": 17}  # Pillow stretches 2- and 4-bit gray to 0..255 by this factor


class ClassesError(UserError):
    """A mask holds something that is none of the classes; the fix supposes a folder with a dataset.yaml."""


def read_image(path: Path) -> ByteImage:
    """The picture as RGB [3 h w], turned upright by its EXIF orientation.

    Gray is repeated in all channels, transparency is dropped, and palette colors are looked up. 16-bit levels are
    scaled from their full range 0..65535.

    Raises:
        UserError: the file is missing, truncated, not an image, or holds floats.
    """
    image, _ = _load(path)
    if image.mode == "F" or (image.mode == "I" and not _fits_16_bit(image)):
        kind = "floats" if image.mode == "F" else "32-bit numbers"
        raise UserError(f"the image holds {kind}", path, "Save it with 8 or 16 bits per channel.")
    if image.mode.startswith("I"):
        levels = (np.asarray(image).astype(np.int32) + 128) // 257
        return torch.from_numpy(levels.astype(np.uint8)).expand(3, -1, -1).contiguous()
    try:
        pixels = np.array(image.convert("RGB"))
    except ValueError as error:
        raise UserError(f"the image cannot become RGB ({error})", path, "Save it as RGB.") from error
    return rearrange(torch.from_numpy(pixels), "h w c -> c h w").contiguous()


def read_size(path: Path) -> tuple[int, int]:
    """Height and width of the upright picture, from the file's header alone."""
    try:
        with opened(path) as image:
            width, height = image.size
            # This is Image.Image's own getexif: the method for PNG would decode all pixels to look behind them.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
            is_upright = image.format == "TIFF" or orientation < 5  # Pillow turns the size of a TIFF itself
    except Exception as error:
        raise _unreadable(path, error) from error
    return (height, width) if is_upright else (width, height)


def num_pictures(path: Path) -> int:
    """How many pictures, pages or frames a file holds; only the first is read. A camera's preview does not count."""
    try:
        with opened(path) as image:
            return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except Exception as error:
        raise _unreadable(path, error) from error


def read_mask(path: Path, classes: Classes) -> ByteLabel:
    """The label of each pixel, 0..k-1 or IGNORE, decoded according to `classes.encoding`.

    Raises:
        UserError: the file is unreadable or a JPEG.
        ClassesError: the mask holds a value that is neither a class nor ignored.
    """
    image, gray_step = _load(path)
    if image.format == "JPEG":
        raise UserError("the mask is a JPEG, which changes label values", path, "Make it again as PNG.")
    codes = _rgb_codes(image, path) if classes.encoding == "rgb" else _index_codes(image, gray_step, path, classes)
    label = _lookup_table(classes)[codes]
    if (label == UNKNOWN).any():
        found = [int(code) for code in np.unique(codes)]
        unknown = [int(code) for code in np.unique(codes[label == UNKNOWN])]
        raise _outside(path, classes, found, unknown, image.mode)
    return torch.from_numpy(label)


def _load(path: Path) -> tuple[Image.Image, int]:
    """The decoded, upright image, and the factor by which Pillow stretched its gray levels."""
    try:
        with opened(path) as image:
            tile_args = image.tile[0].args if image.tile else None
            raw_mode = tile_args[0] if isinstance(tile_args, tuple | list) else tile_args
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # for a broken file, Pillow's readers raise nearly anything
        raise _unreadable(path, error) from error
    image.info.pop("transparency", None)  # otherwise Pillow warns about it in conversions
    return image, GRAY_STEPS.get(str(raw_mode), 1)


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        what = "the link leads nowhere" if path.is_symlink() else "there is no such file"
        return UserError(what, path, "Check the path.")
    if isinstance(error, Image.DecompressionBombError):
        return UserError("the image has more than 178 million pixels", path, "Cut it into tiles.")
    reason = getattr(error, "strerror", None) or str(error) or repr(error)
    reason = "it is no image of a known format" if isinstance(error, UnidentifiedImageError) else reason
    return UserError(f"the file cannot be read: {reason}", path, "Copy it again, save it as png, or remove it.")


def _fits_16_bit(image: Image.Image) -> bool:
    levels = np.asarray(image)
    return bool(levels.min() >= 0 and levels.max() <= 65535)


def _rgb_codes(image: Image.Image, path: Path) -> NDArray[Any]:
    """One number per color: red + 256 green + 65536 blue."""
    if image.mode not in {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}:
        raise _unusual_mode(image, path)
    packed: NDArray[Any] = np.asarray(image.convert("RGBA")).view("<u4")[..., 0]
    return packed & 0xFFFFFF


def _index_codes(image: Image.Image, gray_step: int, path: Path, classes: Classes) -> NDArray[Any]:
    """The mask values; -1 or 65536 stands for a value that no 16-bit file can hold."""
    is_binary = classes.encoding == "binary"
    if is_binary and image.mode in {"1", "P"}:
        return np.asarray(image.convert("L"))
    if image.mode in {"1", "L", "LA", "P", "PA"}:
        levels: NDArray[np.uint8] = np.asarray(image.getchannel(0)).astype(np.uint8)
        return levels if is_binary else levels // np.uint8(gray_step)
    if image.mode.startswith("I"):
        return np.clip(np.asarray(image).astype(np.int32), -1, 65536)
    if image.mode in {"RGB", "RGBA"}:
        red, green, blue = (np.asarray(image.getchannel(band)) for band in range(3))
        if np.array_equal(red, green) and np.array_equal(red, blue):
            return red
        fix = "Write `encoding: rgb` in dataset.yaml, and the `colors` of the classes if no classes.txt has them."
        raise ClassesError(f"the mask holds colors, but the encoding is {classes.encoding}", path, fix)
    raise _unusual_mode(image, path)


def _unusual_mode(image: Image.Image, path: Path) -> UserError:
    return UserError(f"the mask has the unusual mode {image.mode}", path, "Save it as an 8-bit PNG.")


@lru_cache(maxsize=8)
def _lookup_table(classes: Classes) -> NDArray[np.uint8]:
    """A table from code to 0..k-1, IGNORE or UNKNOWN. The last entry, reached also as -1, is for codes out of range."""
    rgb = classes.encoding == "rgb"
    table = np.full(1 << 24 if rgb else 65537, UNKNOWN, dtype=np.uint8)
    table[[_pack(color) for color in classes.ignore_colors] if rgb else list(classes.ignore)] = IGNORE
    table[[_pack(color) for color in classes.colors] if rgb else list(classes.values)] = np.arange(len(classes))
    for label, colors in enumerate(classes.more_colors if rgb else ()):
        table[[_pack(color) for color in colors]] = label
    return table


def _pack(color: tuple[int, int, int]) -> int:
    return color[0] | color[1] << 8 | color[2] << 16


def _outside(path: Path, classes: Classes, found: list[int], unknown: list[int], mode: str) -> ClassesError:
    """The error for values outside the classes, with the likely remedy."""
    what = f"the mask holds {_listed(unknown, classes)}, but {_expected(classes)}"
    is_rgb, is_binary = classes.encoding == "rgb", classes.encoding == "binary"
    values = [value for value in found if value not in classes.ignore]
    if (is_rgb and mode in {"1", "L", "LA"}) or (is_binary and max(found) < len(classes)):
        fix = "The mask holds indices: write `encoding: index` in dataset.yaml."
    elif len(unknown) >= MANY_VALUES or (is_binary and len(unknown) > 1 and max(unknown) >= MANY_VALUES):
        fix = "So many values come from blended edges or JPEG: make the mask again without smoothing, as PNG."
    elif is_binary and max(unknown) < MANY_VALUES:
        fix = "The mask holds more than two classes: write `encoding: index` in dataset.yaml and name them all."
    elif is_binary:
        fix = f"Set {unknown[0]} to 0 or 255, or add `ignore: [{unknown[0]}]` to dataset.yaml."
    elif is_rgb:
        fix = "Add the color to a class, or to `ignore_colors`, in dataset.yaml."
    elif set(found) == {0, 255}:
        fix = "Write `encoding: binary` in dataset.yaml."
    elif len(values) == len(classes) == len(unknown) + (0 in values) and 0 <= values[0] <= values[-1] <= 65535:
        fix = f"If these are the classes, write `values: {values}` in dataset.yaml, in the order of the names."
    elif len(unknown) == 1:
        fix = f"Add class {unknown[0]} to dataset.yaml or map it to 255 (`ignore: {unknown}`)."
    else:
        fix = f"Add these classes to dataset.yaml or map them to 255 (`ignore: {unknown}`)."
    return ClassesError(what, path, fix)


def _listed(codes: list[int], classes: Classes) -> str:
    """`value 23`, `values 23, 24`, or the first three of many."""
    rgb = classes.encoding == "rgb"
    words = [str((code & 255, code >> 8 & 255, code >> 16)) if rgb else str(code) for code in codes]
    kind = "color" if rgb else "value"
    if len(words) > 3:
        return f"{len(words)} {kind}s outside the classes ({', '.join(words[:3])}, ...)"
    return f"{kind}{'s' if len(words) > 1 else ''} {', '.join(words)}"


def _expected(classes: Classes) -> str:
    if classes.encoding == "rgb":
        return f"only the colors of the {len(classes)} classes and `ignore_colors` are known"
    ignored = f" and {_runs(classes.ignore)} {'is' if len(classes.ignore) == 1 else 'are'} ignored"
    return f"classes are {_runs(classes.values)}" + (ignored if classes.ignore else "")


def _runs(values: tuple[int, ...]) -> str:
    """`0-10, 13` for 0 to 10 and 13."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], value]
        else:
            runs.append([value])
    return ", ".join("-".join(str(end) for end in run) for run in runs)
