"""Draws one mask of many pieces: the masks of single classes or objects, or polygons."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewmask.data.masks import Reading, open_mask
from fewmask.errors import UserError
from fewmask.ignore import IGNORE


class Piece(NamedTuple):
    """An area [h w] of one class."""

    label: int
    area: NDArray[np.bool_]


def drawn(size: tuple[int, int], pieces: Sequence[Piece]) -> NDArray[np.uint8]:
    """The labels [h w] of all pieces, and IGNORE elsewhere; where they overlap, the smaller piece lies on top."""
    labels = np.full(size, IGNORE, dtype=np.uint8)
    for piece in sorted(pieces, key=lambda one: -int(one.area.sum())):
        labels[piece.area] = piece.label
    return labels


def area_in(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a mask of one object or class is not 0 and not black; in a mask of one color, where it is not transparent.

    Args:
        path: a mask file.
        size: height and width of its image.

    Raises:
        UserError: the file cannot be read or is not of this size.
    """
    mask = open_mask(path)
    codes = mask.codes(Reading("object"))
    alpha = mask.codes(Reading("alpha")) if mask.mode.endswith("A") else None
    if alpha is not None and (codes is None or (codes == codes.flat[0]).all()):
        codes = alpha
    if codes is None:
        raise UserError(f"the mask has the unusual mode {mask.mode}", path, "Save it as an 8-bit PNG.")
    if codes.shape != size:
        what = f"the mask is {codes.shape[1]} x {codes.shape[0]} pixels, but its image {size[1]} x {size[0]}"
        raise UserError(what, path, "Export it again at the size of the image.")
    return np.asarray(codes != 0)
