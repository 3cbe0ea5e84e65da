"""The pixels that no label covers: a class that is there, a background that is added, or ignored."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewmask.data.classes import MAX_CLASSES, Classes
from fewmask.data.convert.labeled import LabeledImage
from fewmask.errors import UserError
from fewmask.ignore import IGNORE


class Whole(NamedTuple):
    """Labels that say something of every pixel.

    Attributes:
        classes: the names, and the colors if these were given; labels are positions among them.
        splits: the images of each split.
        told: a sentence on the pixels that no label covers; empty if there are none.
    """

    classes: Classes
    splits: dict[str, list[LabeledImage]]
    told: str


def with_rest(classes: Classes, splits: dict[str, list[LabeledImage]], is_ignored: bool) -> Whole:
    """Gives the pixels that no label covers a meaning.

    They are the class that is named background. Without one they are ignored if the classes come with ignored values
    besides 255; or they are the first class if no label can be of it, as with `ground`; or else a class `background` is
    added before the others. An image of which every pixel is then ignored stays without labels.

    Args:
        classes: those of the labels.
        splits: images whose labels are IGNORE where no label covers a pixel.
        is_ignored: ignores these pixels in any case.

    Raises:
        UserError: a background has to be added, and there are as many classes as there can be.
    """
    given = {"colors": classes.colors} if "colors" in classes.model_fields_set else {}
    plain = Classes(names=classes.names, **given)
    images = [one for of_split in splits.values() for one in of_split]
    masks = [one.labels for one in images if one.labels is not None]
    num_uncovered = sum(np.count_nonzero(labels == IGNORE) for labels in masks)
    if num_uncovered == 0:
        return Whole(plain, splits, "")
    table = np.arange(256, dtype=np.uint8)
    if is_ignored or (classes.background is None and _have_void(classes)):
        meaning = "ignored"
    elif classes.background is not None:
        table[IGNORE] = classes.background
        meaning = classes.names[classes.background]
    elif not any(0 in one.named for one in images):
        table[IGNORE] = 0
        meaning = f"{classes.names[0]}, the first class, because no label names it"
    elif len(classes) == MAX_CLASSES:
        what = f"there are {MAX_CLASSES} classes, and no room for a background, which pixels without a label would be"
        raise UserError(what, "dataset.yaml", "Ignore these pixels: --ignore-rest.")
    else:
        table += 1  # 255 becomes 0
        given = {"colors": ((0, 0, 0), *classes.colors)} if given else {}
        plain = Classes(names=("background", *classes.names), **given)
        meaning = "background, a class that was added; --ignore-rest ignores them"
    percent = 100 * num_uncovered / sum(labels.size for labels in masks)
    told = f"No label covers {percent:.3g} % of the pixels of labeled images. They are {meaning}."
    whole = {split: [_relabeled(one, table) for one in of_split] for split, of_split in splits.items()}
    return Whole(plain, whole, told)


def _have_void(classes: Classes) -> bool:
    """Whether values or colors are ignored on purpose: 255 is ignored by default."""
    return bool(set(classes.ignore) - {IGNORE} or classes.ignore_colors)


def _relabeled(one: LabeledImage, table: NDArray[np.uint8]) -> LabeledImage:
    labels = None if one.labels is None else table[one.labels]
    return one._replace(labels=None if labels is None or (labels == IGNORE).all() else labels)
