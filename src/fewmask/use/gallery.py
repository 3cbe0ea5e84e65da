"""A grid of pictures with headings and a legend of the classes, as one image."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fewmask.data.classes import Classes
from fewmask.shapes import IGNORE

Pixels = NDArray[np.uint8]
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_GAP, _HEADING, _LEGEND, _MARGIN = 8, 34, 44, 14
_ENTRY = 42  # pixels of a legend entry besides its name: its color and the space around
_PAPER, _INK = (255, 255, 255), (30, 32, 38)
_VOID = (0, 0, 0)


class Column(NamedTuple):
    """A heading, pictures (uint8 RGB [h w 3], all of one size) below it, and a line of text below them."""

    heading: str
    pictures: Sequence[Pixels]
    note: str = ""


def class_colors(labels: NDArray[np.integer], classes: Classes) -> Pixels:
    """Labels [h w] as colors of the classes [h w 3]; ignored pixels are black."""
    palette = np.full((IGNORE + 1, 3), _VOID, np.uint8)
    palette[: len(classes)] = classes.colors
    colors: Pixels = palette[labels]
    return colors


def gallery(columns: Sequence[Column], classes: Classes, scale: int = 2) -> Image.Image:
    """The columns side by side, with one row for each picture; each picture is enlarged `scale` times."""
    rows = len(columns[0].pictures)
    height, width = (side * scale for side in columns[0].pictures[0].shape[:2])
    notes = _HEADING if any(column.note for column in columns) else 0
    across = len(columns) * (width + _GAP) - _GAP
    font = ImageFont.load_default(size=20)
    legend = _legend_rows(classes, font, across)
    canvas = Image.new(
        "RGB",
        (
            2 * _MARGIN + across,
            2 * _MARGIN + _HEADING + rows * (height + _GAP) + notes + legend * _LEGEND,
        ),
        _PAPER,
    )
    draw = ImageDraw.Draw(canvas)
    for index, column in enumerate(columns):
        left = _MARGIN + index * (width + _GAP)
        draw.text((left + width // 2, _MARGIN + _HEADING // 2 - 4), column.heading, _INK, font, anchor="mm")
        for row, pixels in enumerate(column.pictures):
            smooth = Image.Resampling.LANCZOS if index == 0 else Image.Resampling.NEAREST
            picture = Image.fromarray(pixels).resize((width, height), smooth)
            canvas.paste(picture, (left, _MARGIN + _HEADING + row * (height + _GAP)))
        bottom = canvas.height - _MARGIN - legend * _LEGEND - notes
        draw.text((left + width // 2, bottom + notes // 2), column.note, _INK, font, anchor="mm")
    _draw_legend(draw, classes, font, (_MARGIN, canvas.height - legend * _LEGEND), across, legend)
    return canvas


def _legend_rows(classes: Classes, font: _Font, width: int) -> int:
    """The number of rows of the legend in which the longest name has room."""
    longest = max(font.getlength(name) for name in classes.names)
    in_a_row = max(1, int(width // (longest + _ENTRY)))
    return math.ceil(len(classes) / in_a_row)


def _draw_legend(
    draw: ImageDraw.ImageDraw, classes: Classes, font: _Font, corner: tuple[int, int], width: int, rows: int
) -> None:
    left, top = corner
    in_a_row = math.ceil(len(classes) / rows)
    step = width / in_a_row
    for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        x, y = left + round(index % in_a_row * step), top + index // in_a_row * _LEGEND
        draw.rounded_rectangle((x, y + 6, x + 22, y + 28), 4, color)
        draw.text((x + 30, y + 17), name, _INK, font, anchor="lm")
