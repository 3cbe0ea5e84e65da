"""An image and the labels that were made for it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class LabeledImage(NamedTuple):
    """An image by its name in its split, and its labels.

    Attributes:
        labels: the class of each pixel [h w], and IGNORE where no label covers it; None without any label.
        named: the classes of which labels can be, as their file says, whether or not they cover a pixel.
    """

    name: str
    image: Path
    labels: NDArray[np.uint8] | None = None
    named: frozenset[int] = frozenset()
