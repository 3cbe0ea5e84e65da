"""What dataset.yaml may have been meant to say: changes to be tried on the masks, the smallest first."""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from fewmask.data.classes import Classes
from fewmask.data.doctor.all_masks import Masks
from fewmask.data.masks import unpack
from fewmask.errors import UserError
from fewmask.shapes import IGNORE

Color = tuple[int, int, int]

MEANINGS = ("encoding", "values", "colors", "ignore", "ignore_colors", "more_colors")
PLACES = ("channel", "pages", "min_is_white")
GUESSED_ORDERS = ("the classes stand in these values", "the masks hold colors")
"""Reasons for values or colors whose order is not known."""
NO_CLASS = "what is unknown is no class"
_FEW_UNKNOWN = 4  # more values than this are not proposed to be ignored


def candidates(classes: Classes, masks: Masks) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes in the order of how little they suppose: the nearest to what dataset.yaml says comes first."""
    own = {key: getattr(classes, key) for key in (*MEANINGS, *PLACES) if key in classes.model_fields_set}
    meaning = {key: value for key, value in own.items() if key in MEANINGS}
    places = list(_places(own, masks))
    if "channel" not in own:
        for channel in masks.channels:
            yield f"the channel {channel} holds the positions of the classes", {"channel": channel}
    for meanings in (known_meanings, found_meanings):
        for place_reason, place in places:
            yield place_reason, meaning | place
            for reason, other in meanings(classes, place, masks):
                yield place_reason or reason, other | place
    if len(classes) == 2 and _are_numbers(masks.codes(Classes(names=classes.names, encoding="instances"))):
        kept = {key: own[key] for key in PLACES if key in own}
        yield "the masks number objects", {"encoding": "instances", **kept}
    for _, place in places:
        unknown = _unknown(classes, masks, meaning | place)
        if not 0 < len(unknown) <= _FEW_UNKNOWN:
            continue
        ignored: dict[str, Any]
        if classes.encoding == "rgb":
            ignored = {"ignore_colors": (*classes.ignore_colors, *map(unpack, unknown))}
        else:
            ignored = {"ignore": (*classes.ignore, *unknown)}
        yield NO_CLASS, meaning | place | ignored


def _are_numbers(codes: list[int]) -> bool:
    """Whether the codes may number objects: 1, 2, ..., or at least three besides 0."""
    others = sorted({*codes} - {0})
    return len(others) > 2 or others == [1, 2]


def _places(own: dict[str, Any], masks: Masks) -> Iterator[tuple[str, dict[str, Any]]]:
    kept = {key: own[key] for key in PLACES if key in own}
    yield "", kept
    if masks.has_pages:
        yield "every page shows a part of the mask", kept | {"pages": "merge"}
        yield "every page shows one class", kept | {"pages": "classes"}
    if masks.min_is_white:
        yield (
            "the header says that 0 is white, but the numbers in the file are the classes",
            kept | {"min_is_white": "stored"},
        )
    for channel in masks.channels:
        yield f"the mask is in the channel {channel}", kept | {"channel": channel}
    if kept:
        yield "", {}


def known_meanings(classes: Classes, place: dict[str, Any], masks: Masks) -> Iterator[tuple[str, dict[str, Any]]]:
    """Encodings that need nothing but what dataset.yaml says already."""
    given = {"colors": classes.colors} if "colors" in classes.model_fields_set else {}
    if len(classes) == 2:
        yield "the masks hold 0 and 255", {"encoding": "binary", **given}
    yield "the masks hold the positions of the classes", {"encoding": "index", **given}
    if "channel" in place:
        return
    if classes.encoding == "rgb":
        swapped = {key: _swapped(getattr(classes, key)) for key in ("colors", "ignore_colors") if getattr(classes, key)}
        more = tuple(_swapped(colors) for colors in classes.more_colors)
        reason = "every unknown color is the color of a class with red and blue swapped"
        yield reason, {"encoding": "rgb", **swapped, **({"more_colors": more} if more else {})}
    if given:
        yield "the masks hold the colors of the classes", {"encoding": "rgb", **given}


def found_meanings(classes: Classes, place: dict[str, Any], masks: Masks) -> Iterator[tuple[str, dict[str, Any]]]:
    """Values and colors of all masks together, if there are as many of them as classes."""
    count = len(classes)
    given = {"colors": classes.colors} if "colors" in classes.model_fields_set else {}
    values = sorted(code for code in masks.codes(_placed(place)) if 0 <= code <= 65535)
    for found in (values, [value for value in values if value != IGNORE]):
        if len(found) == count:
            for reason, order in _orders(classes, found):
                yield reason, {"values": tuple(order), **given}
    if "channel" in place:
        return
    with_colors = _placed(place, encoding="rgb", colors=((0, 0, 0), (0, 0, 1)))
    colors = [unpack(code) for code in masks.codes(with_colors)]
    for void in ((), ((255, 255, 255),)):
        colors = [color for color in colors if color not in void]
        if len(colors) == count and any(len(set(color)) > 1 for color in colors):
            ignored = {"ignore_colors": void} if void else {}
            yield "the masks hold colors", {"encoding": "rgb", "colors": _in_order(colors), **ignored}


def _placed(place: dict[str, Any], **meaning: Any) -> Classes:
    return Classes(names=("one", "two"), **meaning, **place)


def _orders(classes: Classes, values: list[int]) -> Iterator[tuple[str, list[int]]]:
    """In which order the values may stand for the classes: as gray levels of known colors, else by size."""
    for what, colors in (
        ("the colors of the classes", classes.colors),
        ("PASCAL VOC's colors", voc_colors(len(classes))),
    ):
        levels = [(299 * red + 587 * green + 114 * blue + 500) // 1000 for red, green, blue in colors]
        if max(abs(a - b) for a, b in zip(sorted(levels), values, strict=True)) <= 1 and len(set(levels)) == len(
            levels
        ):
            order = sorted(range(len(levels)), key=levels.__getitem__)
            yield f"the masks hold {what} turned to gray", [values[order.index(label)] for label in range(len(levels))]
    yield "the classes stand in these values", values


def voc_colors(count: int) -> list[Color]:
    """The first colors of PASCAL VOC's palette: bit 3i + c of a position is bit 7 - i of channel c."""

    def level(position: int, channel: int) -> int:
        return sum((position >> 3 * bit + channel & 1) << 7 - bit for bit in range(8))

    return [(level(position, 0), level(position, 1), level(position, 2)) for position in range(count)]


def _in_order(colors: list[Color]) -> tuple[Color, ...]:
    """PASCAL VOC's order where the colors are of its palette, else as they are."""
    of_voc = voc_colors(len(colors))
    return tuple(of_voc if set(of_voc) == set(colors) else colors)


def _swapped(colors: Sequence[Color]) -> tuple[Color, ...]:
    return tuple((blue, green, red) for red, green, blue in colors)


def _unknown(classes: Classes, masks: Masks, fields: dict[str, Any]) -> list[int]:
    try:
        placed = Classes(names=classes.names, **fields)
    except (UserError, ValidationError):
        return []
    return sorted({code for mask in masks.all for code in mask.unknown(placed)})
