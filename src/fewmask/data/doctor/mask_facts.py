"""What the doctor keeps of a mask: its kind, and a histogram of its codes for every way in which it can be read."""

from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.doctor.histogram import Counts, Histogram, histogram
from fewmask.data.masks import BANDS, UNKNOWN, MaskFile, Reading, label_of_codes, pack, reading_of, unpack
from fewmask.shapes import IGNORE

_CHANNELS = ("red", "green", "blue")
_SEVERAL_BANDS = {"LA", "PA", "RGB", "RGBA"}


class MaskFacts(NamedTuple):
    """A mask without its pixels.

    Attributes:
        size: height and width.
        mode: Pillow's name for the kind of pixels.
        num_pages: how many pictures the file holds.
        pages_match: whether these have one size.
        min_is_white: whether the header says that 0 is white.
        palette: the color of each position that occurs; None without a palette.
        histograms: by reading; a reading that the file does not allow is absent.
    """

    size: tuple[int, int]
    mode: str
    num_pages: int
    pages_match: bool
    min_is_white: bool
    palette: dict[int, int] | None
    histograms: dict[Reading, Histogram]

    def histogram(self, classes: Classes) -> Histogram | None:
        """The codes as these classes are read; None if the mask has none, or has pages of which they say nothing."""
        if self.num_pages > 1 and classes.pages is None:
            return None
        reading = reading_of(classes, self.num_pages)
        if reading.kind in BANDS and self.mode not in _SEVERAL_BANDS:
            reading = reading._replace(kind="index")
        if reading.pages == "merge" and self.num_pages == 1:
            reading = reading._replace(pages="first")
        return self.histograms.get(reading._replace(stored=reading.stored and self.min_is_white))

    def labels(self, classes: Classes) -> Counts | None:
        """Pixels of each label 0..255 by these classes, UNKNOWN among them; None if the mask has no codes for them."""
        found = self.histogram(classes)
        if found is None:
            return None
        by_code, others = label_of_codes(classes, self.num_pages)
        labels = [by_code.get(int(code), others) for code in found.codes]
        return np.bincount(labels, weights=found.counts, minlength=IGNORE + 1).astype(np.int64)

    def unknown(self, classes: Classes) -> list[int]:
        """The codes that are no class and not ignored."""
        found = self.histogram(classes)
        by_code, others = label_of_codes(classes, self.num_pages)
        if found is None or others != UNKNOWN:
            return []
        return [int(code) for code in found.codes if by_code.get(int(code), others) == UNKNOWN]


def mask_facts(mask: MaskFile) -> MaskFacts:
    """The facts of a decoded mask; equal masks have equal facts."""
    histograms: dict[Reading, Histogram] = {}
    pages_match = len({page.size for page in mask.pages}) == 1
    several = len(mask.pages) > 1 and pages_match
    ways: tuple[Literal["first", "merge", "classes"], ...] = ("first", "merge", "classes") if several else ("first",)
    for pages in ways:
        for stored in (False, True) if mask.min_is_white else (False,):
            for kind, found in _by_kind(mask, Reading("index", pages, stored)).items():
                histograms[Reading(kind, pages, stored)] = found  # type: ignore[arg-type]
    if len(mask.pages) == 1 and (one := mask.codes(Reading("index", "classes"))) is not None:
        histograms[Reading("index", "classes")] = histogram(one)
    palette = _palette(mask.pages[0], histograms[Reading("index")]) if mask.mode in {"P", "PA"} else None
    return MaskFacts(mask.size, mask.mode, len(mask.pages), pages_match, mask.min_is_white, palette, histograms)


def _by_kind(mask: MaskFile, reading: Reading) -> dict[str, Histogram]:
    """The histograms of all kinds of codes; those that follow from others cost no look at the pixels."""
    found: dict[str, Histogram] = {}
    alpha = mask.codes(reading._replace(kind="alpha")) if mask.mode in _SEVERAL_BANDS else None
    if alpha is not None:
        found["alpha"] = histogram(alpha)
    if mask.mode in {"RGB", "RGBA"}:
        colors = mask.codes(reading._replace(kind="color"))
        assert colors is not None
        found["color"] = found["object"] = of_color = histogram(colors)
        for band, name in enumerate(_CHANNELS):
            found[name] = of_color.mapped({int(code): unpack(int(code))[band] for code in of_color.codes})
        if all(len(set(unpack(int(code)))) == 1 for code in of_color.codes):
            gray = mask.codes(reading)
            assert gray is not None
            found["index"] = found["binary"] = found["object"] = histogram(gray)
        return found
    codes = mask.codes(reading)
    if codes is None:
        return found
    found["index"] = found["object"] = of_index = histogram(codes)
    if reading.pages == "classes":
        return found
    if mask.mode in {"P", "PA"} and reading.pages == "first":
        palette = _palette(mask.pages[0], of_index)
        found["color"] = of_index.mapped(palette)
        found["binary"] = of_index.mapped({code: _brightness(color) for code, color in palette.items()})
    elif mask.mode in {"1", "L", "LA"} and reading.pages == "first":
        top = mask.gray_step if mask.mode != "1" else 255
        found["binary"] = of_index._replace(codes=of_index.codes * top)
        found["color"] = found["binary"].mapped({int(code): pack((int(code),) * 3) for code in found["binary"].codes})
    else:
        found["binary"] = of_index
    return found


def _palette(page: Image.Image, of_index: Histogram) -> dict[int, int]:
    """The color of each position that occurs; black beyond the end of a short palette, as Pillow has it."""
    levels = list(page.getpalette("RGB") or [])
    levels += [0] * (768 - len(levels))
    return {int(code): pack((levels[3 * code], levels[3 * code + 1], levels[3 * code + 2])) for code in of_index.codes}


def _brightness(color: int) -> int:
    """The gray level of a color as Pillow computes it."""
    level = Image.new("RGB", (1, 1), unpack(color)).convert("L").getpixel((0, 0))
    assert isinstance(level, int)
    return level
