"""Which train images count as labeled: all that have masks, a seeded share or number of them, or those of a list."""

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fewmask.data.classes import Classes
from fewmask.data.folder import Folder, Sample
from fewmask.data.lists import listed_names
from fewmask.data.masks import read_mask
from fewmask.errors import UserError
from fewmask.shapes import IGNORE, Bool, Int64

COMMON_IMAGES = 5  # a class that is in at least this many images is kept in every draw
_NUMBER, _SHARE = r"[+-]?\d{1,18}", r"[+-]?(\d{1,18}/\d{1,18}|\d{0,18}\.\d{1,18})"
FORMS = "Write a share (1/30), a number (12), `all`, or a text file with one image name per line."


class Partition(NamedTuple):
    """The images to learn from, as labeled samples and unlabeled images.

    `unlabeled` holds only paths of images, so no hidden mask can be reached from it.
    """

    labeled: tuple[Sample, ...]
    unlabeled: tuple[Path, ...]


def draw_partition(folder: Folder, labels: str | int | None, split_seed: int) -> Partition:
    """Hide all but the chosen masks of `folder.train`.

    Args:
        folder: its train images without a chosen mask and its unlabeled images form the unlabeled pool.
        labels: which masks to choose. None or `all`: every mask. `1/30`: this share of the images with masks, with half
            rounded up, but at least one. 12: this number of masks. Any other text: a list as `listed_names` reads it.
        split_seed: the seed by which a share or number is drawn.

    Images are drawn in the order of a hash of (seed, name). So the draw is the same on every machine, a larger draw
    holds about the images of a smaller one, and an image that is added later does not reshuffle the others. A class is
    common if at least COMMON_IMAGES images hold it. While a common class is missing, the next image of the order that
    holds it takes the place of the last chosen image that can go without losing another common class. If no such
    exchange is left, which happens with few images and many classes, the class stays out.

    Raises:
        UserError: there are no masks, fewer than were asked for, unknown names, or `labels` in an unknown form.
    """
    candidates = [sample for sample in folder.train if sample.mask is not None]
    if not candidates:
        fix = "Put at least one mask there (png, bmp, tif, gif), with the name of its image."
        raise UserError("no train image has a mask", folder.root / "train" / "masks", fix)
    chosen = set(_chosen_names(folder, candidates, labels, split_seed))
    labeled = tuple(sample for sample in candidates if sample.name in chosen)
    if not labeled:
        raise UserError("of every image in the list the mask is of another size", str(labels), FORMS)
    rest = [sample.image for sample in folder.train if sample.name not in chosen]
    return Partition(labeled, (*rest, *(sample.image for sample in folder.unlabeled)))


def _chosen_names(folder: Folder, candidates: Sequence[Sample], labels: str | int | None, split_seed: int) -> list[str]:
    text = "all" if labels is None else str(labels).strip()
    if text == "all":
        return [sample.name for sample in candidates]
    count = _count(text, len(candidates))
    if count is None:
        if not Path(text).is_file():
            raise UserError(f"{text!r} is no share, no number and no file", "labels", FORMS)
        return listed_names(Path(text), (*candidates, *folder.left_out), "train image with a mask")
    order = sorted(candidates, key=lambda sample: draw_key(split_seed, sample.name))
    if count < len(order):
        chosen = _cover_classes(presence_of(order, folder.classes), count)
        return [order[position].name for position in chosen]
    return [sample.name for sample in order]


def draw_key(split_seed: int, name: str) -> bytes:
    """The key by which the images of a draw are ordered."""
    return hashlib.sha256(f"{split_seed} {name}".encode()).digest()


def is_list(labels: str | int | None) -> bool:
    """Whether the setting `data.labels` names a file."""
    text = "all" if labels is None else str(labels).strip()
    return text != "all" and not re.fullmatch(f"{_NUMBER}|{_SHARE}", text)


def _count(text: str, num_masks: int) -> int | None:
    """How many masks a share or number means; None for any other text, which must be a file."""
    if re.fullmatch(_NUMBER, text):
        count = int(text)
        if not 1 <= count <= num_masks:
            raise UserError(f"{count} labels are asked for, but {num_masks} train images have masks", "labels", FORMS)
        return count
    if not re.fullmatch(_SHARE, text):
        return None
    share = Fraction(0) if re.search(r"/0+$", text) else Fraction(text)
    if not 0 < share <= 1:
        raise UserError(f"a share of {text} is not above 0 and at most 1", "labels", FORMS)
    return max(1, int(share * num_masks + Fraction(1, 2)))


def hold_out(
    labeled: Sequence[Sample], classes: Classes, split_seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """The labeled images to learn from, and about a sixth of them that is kept from learning, at least one.

    Images are taken in the order of their draw, and only if every class of theirs stays in another image to learn from.

    Raises:
        UserError: every image holds a class that no other image has.
    """
    order = sorted(labeled, key=lambda sample: draw_key(split_seed, sample.name), reverse=True)
    presence = presence_of(order, classes).long()
    left, kept = presence.sum(0), set[str]()
    for sample, has in zip(order, presence, strict=True):
        can_go = bool(has.any()) and bool(((has == 0) | (left > 1)).all())
        if can_go and len(kept) < max(1, len(order) // 6):
            left = left - has
            kept.add(sample.name)
    if not kept:
        raise UserError(
            "no labeled image can be kept from learning, because each has a class that no other image has",
            "data.labels",
            "Label more images, or give a number in place of `auto` in the settings of the method.",
        )
    learned = tuple(sample for sample in labeled if sample.name not in kept)
    return learned, tuple(sample for sample in labeled if sample.name in kept)


def _cover_classes(presence: Bool[Tensor, "n k"], count: int) -> list[int]:
    """Rows of the table: the first `count` rows, with later rows exchanged in until every common class is held."""
    common = presence[:, presence.sum(0) >= COMMON_IMAGES].long()
    chosen = list(range(count))
    while exchange := _next_exchange(common, chosen):
        position, row = exchange
        chosen[position] = row
    return chosen


def _next_exchange(common: Int64[Tensor, "n k"], chosen: list[int]) -> tuple[int, int] | None:
    """A position in `chosen` and the row to put there; None if every class is held or no missing class can be won."""
    held = common[chosen].sum(0)
    for row in torch.nonzero((common * (held == 0)).any(1)).flatten().tolist():
        held_without = held - common[chosen] + common[row]  # one row for each chosen image that might leave
        can_leave = ~((held > 0) & (held_without == 0)).any(1)
        if can_leave.any():
            return int(torch.nonzero(can_leave)[-1]), row
    return None


def presence_of(samples: Sequence[Sample], classes: Classes) -> Bool[Tensor, "n k"]:
    """Whether each mask holds each class; all masks are read for it."""

    def classes_in(sample: Sample) -> list[bool]:
        assert sample.mask is not None
        counts = np.bincount(read_mask(sample.mask, classes).numpy().ravel(), minlength=IGNORE + 1)
        return [bool(count) for count in counts[: len(classes)]]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return torch.tensor(list(pool.map(classes_in, samples)))
