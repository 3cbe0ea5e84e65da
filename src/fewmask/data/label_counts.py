"""Checks with the counts of all masks together whether the masks are read as they were meant."""

import numpy as np
from numpy.typing import NDArray

from fewmask.data.classes import Classes
from fewmask.errors import UserError
from fewmask.shapes import IGNORE


def foreground_is_ignored(classes: Classes, pixels: NDArray[np.int64]) -> UserError | None:
    """The mistake of two classes in 0 and 255 without `encoding: binary`; None if the masks do not show this mistake.

    Without `encoding: binary` the value 255 is ignored, so one of the classes is in no mask.

    Args:
        classes: the classes by which the masks are read.
        pixels: [256] the number of pixels with each label, over all masks.
    """
    if classes.encoding != "index" or len(classes) != 2 or pixels[1] or not pixels[IGNORE]:
        return None
    name, value = classes.names[1], classes.values[1]
    return UserError(
        f"no mask holds {name} (value {value}), but some pixels are ignored",
        fix=f"If 255 means {name}, write `encoding: binary` in dataset.yaml.",
    )
