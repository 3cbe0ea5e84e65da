"""Reads a mask: the number in each of its pixels, its code, and the label that this code means to the classes.

Where a code stands (a channel, a palette, one of several pages) is a `Reading`. The doctor takes the codes of all
readings that a file allows, so that it can try other classes without opening the file again.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.images import load, num_pictures
from fewmask.errors import UserError
from fewmask.shapes import IGNORE, ByteLabel

UNKNOWN = 254  # in a lookup table: neither a class nor ignored
OUT_OF_RANGE = 65536  # stands for a value that no 16-bit file can hold
BANDS = {"red": "R", "green": "G", "blue": "B", "alpha": "A"}
MAX_PAGES = 256
DOCTOR = "`fewmask doctor` tries on all masks what could be meant, and says what to write in dataset.yaml."

Kind = Literal["index", "binary", "color", "object", "red", "green", "blue", "alpha"]
Codes = NDArray[Any]


class ClassesError(UserError):
    """A mask holds something that is none of the classes; the fix supposes a folder with a dataset.yaml."""


class Reading(NamedTuple):
    """Where the codes of a mask stand; see `Classes` for `pages` and `min_is_white`.

    Attributes:
        kind: `index`: gray levels or palette positions. `binary`: the same, but a palette counts by its brightness.
            `color`: red + 256 green + 65536 blue. `object`: index where there is one, else color. Otherwise the name of
            the channel, or index if there is only one.
    """

    kind: Kind
    pages: Literal["first", "merge", "classes"] = "first"
    stored: bool = False


class MaskFile(NamedTuple):
    """A decoded mask file.

    Attributes:
        pages: the pictures in the file, each upright.
        gray_step: the factor by which Pillow stretched 2- and 4-bit gray.
        min_is_white: whether the header says that 0 is white, so that Pillow turned the levels around.
    """

    pages: tuple[Image.Image, ...]
    gray_step: int
    min_is_white: bool

    @property
    def mode(self) -> str:
        """Pillow's name for the kind of pixels."""
        return str(self.pages[0].mode)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first page."""
        return self.pages[0].height, self.pages[0].width

    def codes(self, reading: Reading) -> Codes | None:
        """The code of each pixel [h w]; None if the file has no such codes, or pages of different sizes."""
        if reading.pages == "first":
            return self._page(self.pages[0], reading)
        if len({page.size for page in self.pages}) > 1:
            return None
        merged = np.zeros(self.size, dtype=np.int32)
        for number, page in enumerate(self.pages, start=1):
            codes = self._page(page, reading)
            if codes is None:
                return None
            merged[codes != 0] = number if reading.pages == "classes" else codes[codes != 0]
        return merged

    def _page(self, page: Image.Image, reading: Reading) -> Codes | None:
        codes = _page_codes(page, reading.kind, self.gray_step)
        if codes is None or not (self.min_is_white and reading.stored):
            return codes
        top = 1 if page.mode == "1" and reading.kind != "binary" else 255 // self.gray_step
        return (top - codes).astype(np.uint8)


def open_mask(path: Path) -> MaskFile:
    """Decodes a mask file.

    Raises:
        UserError: the file is unreadable or a JPEG, or has more than MAX_PAGES pages.
    """
    first = load(path)
    if first.picture.format == "JPEG":
        raise UserError("the mask is a JPEG, which changes label values", path, "Make it again as PNG.")
    count = num_pictures(path)
    if count > MAX_PAGES:
        raise UserError(f"the mask has {count} pages", path, "Save the one that is the mask as PNG.")
    pages = [first.picture, *(load(path, page).picture for page in range(1, count))]
    return MaskFile(tuple(map(_without_transparency, pages)), first.gray_step, first.min_is_white)


def read_mask(path: Path, classes: Classes) -> ByteLabel:
    """The label of each pixel, 0..k-1 or IGNORE, decoded according to `classes`.

    Raises:
        UserError: the file is unreadable or a JPEG.
        ClassesError: the mask holds a value that is neither a class nor ignored.
    """
    mask = open_mask(path)
    refused = len(mask.pages) > 1 and classes.pages is None
    codes = None if refused else mask.codes(reading_of(classes, len(mask.pages)))
    if codes is None:
        raise ClassesError(why_no_codes(mask, classes), path, DOCTOR)
    label = lookup_table(classes, len(mask.pages))[codes]
    if (label == UNKNOWN).any():
        raise ClassesError(unknown_codes(np.unique(codes[label == UNKNOWN]), classes), path, DOCTOR)
    return torch.from_numpy(label)


def why_no_codes(mask: MaskFile, classes: Classes) -> str:
    """What keeps a mask from being read by these classes."""
    if len(mask.pages) > 1 and classes.pages is None:
        return f"the mask holds {len(mask.pages)} pages, and dataset.yaml does not say what they mean"
    if classes.pages in ("merge", "classes") and len({page.size for page in mask.pages}) > 1:
        return "the pages of the mask differ in size"
    if classes.channel is not None:
        return f"the mask has no channel {classes.channel}"
    if mask.mode in {"RGB", "RGBA"}:
        return f"the mask holds colors, but the encoding is {classes.encoding}"
    return f"the mask has the unusual mode {mask.mode}"


def reading_of(classes: Classes, num_pages: int) -> Reading:
    """Where a mask of these classes with so many pages has its codes.

    A mask with one page and one channel holds the values themselves, whatever `pages` and `channel` say of the others:
    so predicted masks can be given back as labels.
    """
    kinds: dict[str, Kind] = {"index": "index", "binary": "binary", "rgb": "color", "instances": "object"}
    kind = classes.channel or kinds[classes.encoding]
    pages = "first" if classes.pages is None or _is_plain(classes, num_pages) else classes.pages
    return Reading(kind, pages, classes.min_is_white == "stored")


def label_of_codes(classes: Classes, num_pages: int = 1) -> tuple[dict[int, int], int]:
    """The label of each code that has one, and the label of all other codes."""
    if classes.pages == "classes" and not _is_plain(classes, num_pages):
        first = len(classes) - num_pages  # 1: the first class is where no page shows anything
        labels = {page: page - 1 + first for page in range(1, num_pages + 1)} if first in (0, 1) else {}
        return {0: 0 if first == 1 else IGNORE, **labels}, UNKNOWN
    if classes.encoding == "instances":
        return {0: 0, **dict.fromkeys(classes.ignore, IGNORE)}, 1
    if classes.encoding != "rgb":
        labels = dict.fromkeys(classes.ignore, IGNORE)
        return labels | {value: label for label, value in enumerate(classes.values)}, UNKNOWN
    labels = {pack(color): IGNORE for color in classes.ignore_colors}
    labels |= {pack(color): label for label, color in enumerate(classes.colors)}
    return labels | {pack(c): label for label, colors in enumerate(classes.more_colors) for c in colors}, UNKNOWN


def _is_plain(classes: Classes, num_pages: int) -> bool:
    """Whether one page shows more than two classes, so that it must hold their values."""
    return num_pages == 1 and len(classes) > 2


@lru_cache(maxsize=8)
def lookup_table(classes: Classes, num_pages: int = 1) -> NDArray[np.uint8]:
    """A table from code to 0..k-1, IGNORE or UNKNOWN. The last entry, reached also as -1, is for codes out of range."""
    labels, others = label_of_codes(classes, num_pages)
    has_colors = classes.encoding in ("rgb", "instances")
    table = np.full(1 << 24 if has_colors else OUT_OF_RANGE + 1, others, dtype=np.uint8)
    table[list(labels)] = list(labels.values())
    return table


def pack(color: tuple[int, int, int]) -> int:
    """The code of a color."""
    return color[0] | color[1] << 8 | color[2] << 16


def unpack(code: int) -> tuple[int, int, int]:
    """The color of a code."""
    return code & 255, code >> 8 & 255, code >> 16


def unknown_codes(codes: Codes, classes: Classes) -> str:
    """Says which codes of a mask are no class."""
    if classes.pages == "classes":
        return "the mask has another number of pages than there are classes, or classes besides the first"
    return f"the mask holds {_listed([int(code) for code in codes], classes)}, but {_expected(classes)}"


def _page_codes(image: Image.Image, kind: Kind, gray_step: int) -> Codes | None:
    if kind in BANDS:
        bands = image.getbands()
        if len(bands) == 1:
            return _page_codes(image, "index", gray_step)
        return np.asarray(image.getchannel(BANDS[kind])) if BANDS[kind] in bands else None
    if kind == "color":
        if image.mode not in {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}:
            return None
        packed: Codes = np.asarray(image.convert("RGBA")).view("<u4")[..., 0]
        return packed & 0xFFFFFF
    if kind == "binary" and image.mode in {"1", "P", "PA"}:
        return np.asarray(image.convert("RGB").convert("L"))
    if image.mode in {"1", "L", "LA", "P", "PA"}:
        levels: NDArray[np.uint8] = np.asarray(image.getchannel(0)).astype(np.uint8)
        return levels if kind == "binary" else levels // np.uint8(gray_step)
    if image.mode.startswith("I"):
        return np.clip(np.asarray(image).astype(np.int32), -1, OUT_OF_RANGE)
    if image.mode == "F":
        levels = np.asarray(image)
        whole = np.array_equal(levels, np.rint(levels))  # false for numbers that are not finite, too
        return np.clip(levels, -1, OUT_OF_RANGE).astype(np.int32) if whole else None
    if image.mode in {"RGB", "RGBA"}:
        red, green, blue = (np.asarray(image.getchannel(band)) for band in range(3))
        if np.array_equal(red, green) and np.array_equal(red, blue):
            return red
        return _page_codes(image, "color", gray_step) if kind == "object" else None
    return None


def _without_transparency(page: Image.Image) -> Image.Image:
    """The page with the transparency of its palette as a channel; Pillow would warn of it in conversions."""
    if page.mode != "P" or "transparency" not in page.info:
        page.info.pop("transparency", None)
        return page
    alpha = page.convert("RGBA").getchannel("A")
    page.info.pop("transparency")
    both = Image.merge("PA", (Image.fromarray(np.asarray(page)), alpha))
    both.putpalette(page.getpalette() or [])
    return both


def _listed(codes: list[int], classes: Classes) -> str:
    """`value 23`, `values 23, 24`, or the first three of many. A palette of a binary mask counts by its brightness."""
    rgb = classes.encoding == "rgb"
    words = [str(unpack(code)) if rgb else str(code) for code in codes]
    one, many = {"rgb": ("color", "colors"), "binary": ("gray level", "gray levels")}.get(
        classes.encoding, ("value", "values")
    )
    if len(words) > 3:
        return f"{len(words)} {many} outside the classes ({', '.join(words[:3])}, ...)"
    return f"{many if len(words) > 1 else one} {', '.join(words)}"


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
