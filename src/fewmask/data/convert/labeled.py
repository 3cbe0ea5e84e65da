"""An image and the labels that were made for it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class LabeledImage(NamedTuple):
    """An image by its name in its split, and its labels [h w], or None without any."""

    name: str
    image: Path
    labels: NDArray[np.uint8] | None
