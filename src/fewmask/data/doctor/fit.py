"""How well a mask fits its image: whether the borders of the mask lie where the image changes."""

import numpy as np
from numpy.typing import NDArray

from fewmask.shapes import IGNORE

_MOST_LINES = 64  # rows and columns that are looked at, spread over the picture
_SMALLEST_SIDE = 16  # pixels; smaller pictures have no room for borders
_FEWEST_BORDERS = 24  # pixels of border; fewer say nothing


def fit_of(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float | None:
    """The chance that the image changes more at a border pixel of the mask than at another pixel; 0.5 is no relation.

    A pixel next to a border counts as border, because borders are seldom drawn to the pixel.

    Args:
        image: [h w 3].
        labels: [h w]; a border with an ignored area is no border.

    Returns:
        A share in [0, 1]; None if there are too few borders.
    """
    if min(labels.shape) < _SMALLEST_SIDE:
        return None
    at_border, elsewhere = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
    for pixels, codes in ((image, labels), (image.swapaxes(0, 1), labels.T)):
        step = -(-len(codes) // _MOST_LINES)
        pixels, codes = pixels[::step], codes[::step]
        light = pixels.mean(2, dtype=np.float32).astype(np.int16)
        change = np.abs(light[:, 1:] - light[:, :-1])
        nearby = np.maximum(change[:, 1:-1], np.maximum(change[:, 2:], change[:, :-2]))
        left, right = codes[:, 1:-2], codes[:, 2:-1]
        drawn = (left != IGNORE) & (right != IGNORE)
        is_border = drawn & (left != right)
        at_border += np.bincount(nearby[is_border], minlength=256)
        elsewhere += np.bincount(nearby[drawn & ~is_border], minlength=256)
    if at_border.sum() < _FEWEST_BORDERS or not elsewhere.any():
        return None
    below = np.cumsum(elsewhere) - elsewhere
    wins = (at_border * (below + elsewhere / 2)).sum()
    return float(wins / (at_border.sum() * elsewhere.sum()))
