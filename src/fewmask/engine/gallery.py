"""A grid of pictures with headings and a legend of the classes, as one image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fewmask.data.classes import Classes
from fewmask.shapes import IGNORE

Pixels = NDArray[np.uint8]

_GAP, _HEADING, _LEGEND, _MARGIN = 8, 34, 44, 14
_PAPER, _INK = (255, 255, 255), (30, 32, 38)
_VOID = (0, 0, 0)


class Column(NamedTuple):
    """Pictures under a heading, uint8 RGB [h w 3], all of one size."""

    heading: str
    pictures: Sequence[Pixels]


def class_colors(labels: NDArray[np.integer], classes: Classes) -> Pixels:
    """Labels [h w] as colors of the classes; ignored pixels black."""
    palette = np.full((IGNORE + 1, 3), _VOID, np.uint8)
    palette[: len(classes)] = classes.colors
    colors: Pixels = palette[labels]
    return colors


def gallery(columns: Sequence[Column], classes: Classes, scale: int = 2) -> Image.Image:
    """Columns side by side, a row per picture, each picture enlarged `scale` times."""
    rows = len(columns[0].pictures)
    height, width = (side * scale for side in columns[0].pictures[0].shape[:2])
    canvas = Image.new(
        "RGB",
        (
            2 * _MARGIN + len(columns) * (width + _GAP) - _GAP,
            2 * _MARGIN + _HEADING + rows * (height + _GAP) + _LEGEND,
        ),
        _PAPER,
    )
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=20)
    for index, column in enumerate(columns):
        left = _MARGIN + index * (width + _GAP)
        draw.text((left + width // 2, _MARGIN + _HEADING // 2 - 4), column.heading, _INK, font, anchor="mm")
        for row, pixels in enumerate(column.pictures):
            smooth = Image.Resampling.LANCZOS if index == 0 else Image.Resampling.NEAREST
            picture = Image.fromarray(pixels).resize((width, height), smooth)
            canvas.paste(picture, (left, _MARGIN + _HEADING + row * (height + _GAP)))
    _draw_legend(draw, classes, font, (_MARGIN, canvas.height - _LEGEND), canvas.width - 2 * _MARGIN)
    return canvas


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    classes: Classes,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    corner: tuple[int, int],
    width: int,
) -> None:
    left, top = corner
    step = width / len(classes)
    for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        x = left + round(index * step)
        draw.rounded_rectangle((x, top + 6, x + 22, top + 28), 4, color)
        draw.text((x + 30, top + 17), name, _INK, font, anchor="lm")
