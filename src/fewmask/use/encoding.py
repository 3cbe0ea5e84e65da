"""Predicted labels as pixels of a mask in the encoding of the data set, so that a corrected mask is a label again."""

import numpy as np
from numpy.typing import NDArray

from fewmask.data.classes import Classes
from fewmask.use.raster.sink import Look


def mask_look(classes: Classes) -> Look:
    """How masks of these classes are stored.

    `index` masks hold the value of each class. If all values fit into 8 bits, the file also has a palette with the
    colors of the classes; otherwise it is 16-bit gray. `rgb` masks hold the first color of each class, and masks of two
    classes that are no index hold 0 and 255, or the next lower value that is not ignored.
    """
    if classes.encoding == "rgb":
        return Look(channels=3)
    if classes.encoding != "index":
        return Look()
    if max(classes.values) > 255:
        return Look(np.uint16)
    palette = np.zeros((256, 3), np.uint8)
    palette[list(classes.values)] = classes.colors
    return Look(palette=palette)


def encoded(labels: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The pixels of the mask: [h w], or [h w 3] for `rgb`.

    Args:
        labels: positions of classes, 0..k-1.
        classes: their values or colors in a mask.
    """
    if classes.encoding == "rgb":
        table = np.array(classes.colors, np.uint8)
    elif classes.encoding != "index":
        table = np.array([0, max(set(range(1, 256)) - set(classes.ignore))], np.uint8)
    else:
        table = np.array(classes.values, mask_look(classes).dtype)
    found: NDArray[np.uint8] | NDArray[np.uint16] = table[labels]
    return found


def overlay(
    pixels: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Classes, opacity: float
) -> NDArray[np.uint8]:
    """The image [h w 3] with the colors of the classes over it; opacity 1 shows the colors alone."""
    colors = np.asarray(classes.colors, np.float32)[labels]
    mixed: NDArray[np.uint8] = np.round((1 - opacity) * pixels + opacity * colors).astype(np.uint8)
    return mixed


def as_byte(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Shares in [0, 1] as 0..255."""
    found: NDArray[np.uint8] = np.round(share * 255).astype(np.uint8)
    return found
