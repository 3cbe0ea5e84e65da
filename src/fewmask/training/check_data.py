"""Reads masks and some images before a training, so that it does not learn from wrong ones in silence."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from fewmask.data.classes import Classes
from fewmask.data.doctor.diagnosis import Item, judge_items
from fewmask.data.doctor.picture_facts import looks_drawn
from fewmask.data.doctor.sample import examine_sample
from fewmask.data.folder import Folder, Sample
from fewmask.data.pairing import named_after_another
from fewmask.data.pixels import read_pixels
from fewmask.data.store import FileStore, every_picture
from fewmask.errors import UserError, in_command
from fewmask.shapes import IGNORE

MOST_MASKS = 200  # of more masks than this, so many spread over all are read
_MOST_REMARKS = 5
_MOST_IMAGES = 24  # unlabeled images that are looked at

Entry = TypeVar("Entry")


class Findings(NamedTuple):
    """What is worth a word before a training.

    Attributes:
        missing: the classes that no mask to learn from holds; empty if not all masks were read.
        remarks: warnings, a line each.
    """

    missing: tuple[str, ...]
    remarks: tuple[str, ...]


def check_labeled(folder: Folder, labeled: Sequence[Sample]) -> Findings:
    """Examines images and masks to learn from as the doctor does.

    Raises:
        UserError: the first error that the doctor would find in them.
    """
    chosen = spread(labeled, MOST_MASKS)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        facts = list(pool.map(partial(examine_sample, classes=folder.classes), chosen))
    items = [Item("train", sample, found) for sample, found in zip(chosen, facts, strict=True)]
    problems = list(judge_items(items, folder))
    for problem in problems:
        if problem.level == "error":
            raise UserError(problem.text, folder.root / problem.file, problem.fix)
    doctor = f"`fewmask doctor {in_command(folder.root)}` says more."
    warnings = [problem for problem in problems if problem.level == "warning"]
    remarks = [f"{_place(problem.file)}{problem.text}. {problem.fix}" for problem in warnings[:_MOST_REMARKS]]
    if len(warnings) > _MOST_REMARKS:
        remarks.append(f"There are {len(warnings) - _MOST_REMARKS} more warnings: {doctor}")
    if len(chosen) < len(labeled):
        return Findings((), tuple(remarks))
    labels = [found.mask.labels(folder.classes) for found in facts if found.mask is not None]
    pixels = np.sum([counts for counts in labels if counts is not None], axis=0)
    names = tuple(name for name, count in zip(folder.classes.names, pixels, strict=False) if not count)
    return Findings(names, tuple(remarks))


def check_unlabeled(images: Sequence[Path]) -> tuple[str, ...]:
    """A remark if some of the images look like masks, which would be learned from as if they were photographs."""

    def is_drawn(path: Path) -> bool:
        try:
            return looks_drawn(read_pixels(path))
        except UserError:  # said when it is read to learn from
            return False

    by_stem = {path.stem: path for path in images}
    suspects = [path for path in images if named_after_another(path.stem, by_stem)]
    chosen = list(dict.fromkeys((*spread(suspects, _MOST_IMAGES), *spread(images, _MOST_IMAGES))))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = [path for path, found in zip(chosen, pool.map(is_drawn, chosen), strict=True) if found]
    if not drawn:
        return ()
    what = (
        f"{len(drawn)} of {len(chosen)} unlabeled images that were looked at have few colors in flat areas, as masks do"
    )
    return (f"{what}, such as {drawn[0]}. If they are masks, move them to the masks.",)


def check_scored(samples: Sequence[Sample], classes: Classes) -> None:
    """Reads all images and masks that will be scored.

    Raises:
        UserError: one cannot be read, or every pixel of all masks is ignored.
    """
    with_masks = [sample for sample in samples if sample.mask is not None]
    is_labeled = False
    for picture in every_picture(FileStore(with_masks, classes)):
        assert picture.labels is not None
        is_labeled |= bool((picture.labels != IGNORE).any())
    if with_masks and not is_labeled:
        assert with_masks[0].mask is not None
        fix = "Label something in them, or leave out training.score_every, training.select and --baseline."
        raise UserError(
            "every pixel of every mask is ignored, so no score can be computed", with_masks[0].mask.parent, fix
        )


def _place(file: str) -> str:
    return f"{file}: " if file else ""


def spread(entries: Sequence[Entry], most: int) -> list[Entry]:
    """All entries, or the given number of them at even distances."""
    if len(entries) <= most:
        return list(entries)
    return [entries[position * len(entries) // most] for position in range(most)]
