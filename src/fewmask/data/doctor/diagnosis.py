"""Read every file of a dataset before training, name each one that is wrong, and say what to do about it."""

from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from fewmask.data.classes import Classes
from fewmask.data.doctor.copies import SCORED, NamedPicture, judge_copies
from fewmask.data.doctor.encoding import NamedMask, judge_masks
from fewmask.data.doctor.misfits import NamedFit, judge_fits
from fewmask.data.doctor.pictures import judge_drawn, judge_picture
from fewmask.data.doctor.problem import Problem, as_problem, relative_to
from fewmask.data.doctor.sample import Facts, examine_sample
from fewmask.data.doctor.splits import judge_classes, judge_counts, judge_shares
from fewmask.data.doctor.unread import left_out, unused_files
from fewmask.data.folder import Folder, Sample, check_is_folder, survey_folder
from fewmask.data.processes import in_processes
from fewmask.data.sample import UNKNOWN_CLASSES
from fewmask.errors import UserError

__all__ = ["Diagnosis", "Problem", "examine"]

LEVELS = ("error", "warning", "note")

Splits = dict[str, tuple[Sample, ...]]


class Item(NamedTuple):
    """A sample, its split, and what the doctor keeps of it."""

    split: str
    sample: Sample
    facts: Facts


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Attributes:
        layout: the name of the public dataset whose layout the folder has; empty for our own layout.
        classes: the classes of the dataset; None if they cannot be read. In that case `pixel_share` names the mask
            values.
        problems: errors first, then warnings, then notes.
        num_images, num_labeled: the counts for each split: train, unlabeled, val, test.
        pixel_share: for each of train, val and test, the share of its labeled pixels in each class; None without any.
        size_range: the smallest and the largest (height, width), each side on its own; None without a readable image.
    """

    root: Path
    layout: str
    classes: Classes | None
    problems: tuple[Problem, ...]
    num_images: dict[str, int]
    num_labeled: dict[str, int]
    pixel_share: dict[str, dict[str, float] | None]
    size_range: tuple[tuple[int, int], tuple[int, int]] | None

    def exit_code(self, strict: bool = False) -> int:
        """Returns 2 if there are errors, 1 if there are warnings and `strict` is set, and 0 otherwise."""
        levels = {problem.level for problem in self.problems}
        if "error" in levels:
            return 2
        return 1 if strict and "warning" in levels else 0


def examine(root: Path | str, progress: Progress | None = None) -> Diagnosis:
    """Decode every image and mask of the dataset in `root`. A broken file becomes a problem, and the work goes on.

    Raises:
        UserError: there is no such folder.
    """
    root = Path(root)
    check_is_folder(root)
    folder, mistakes = survey_folder(root)
    known = None if folder.classes is UNKNOWN_CLASSES else folder.classes
    splits = {"train": folder.train, "unlabeled": folder.unlabeled, "val": folder.val, "test": folder.test}
    items = _read_all(splits, folder.classes, progress)
    labels = {split: _labels(items, split, folder.classes) for split in ("train", *SCORED)}
    problems = [as_problem(mistake, root) for mistake in mistakes]
    problems += judge_items(items, folder)
    problems += judge_counts(folder, has_mistakes=bool(mistakes))
    problems += [as_problem(note, root, "note") for note in folder.notes]
    problems += left_out(folder) if folder.layout else unused_files(root)
    if known and not any(problem.level == "error" and problem.file.startswith(_place(folder)) for problem in problems):
        problems += judge_classes(known, labels["train"], _place(folder))
        problems += judge_shares(known, labels["train"], {split: labels[split] for split in SCORED})
    sizes = np.array([item.facts.picture.size for item in items if item.facts.picture])
    return Diagnosis(
        root=root,
        layout=folder.layout,
        classes=known,
        problems=tuple(sorted(problems, key=lambda problem: LEVELS.index(problem.level))),
        num_images={split: len(samples) for split, samples in splits.items()},
        num_labeled={split: sum(sample.mask is not None for sample in samples) for split, samples in splits.items()},
        pixel_share={
            split: _shares(counts.sum(axis=0), folder.classes, known is None) for split, counts in labels.items()
        },
        size_range=(tuple(sizes.min(axis=0).tolist()), tuple(sizes.max(axis=0).tolist())) if len(sizes) else None,
    )


def judge_items(items: Sequence[Item], folder: Folder) -> Iterator[Problem]:
    """What the files themselves say, each alone and all together."""
    root = folder.root

    def name(path: Path | None) -> str:
        return "" if path is None else relative_to(root, path)

    for item in items:
        yield from judge_picture(item.facts, name(item.sample.image), name(item.sample.mask))
    pictures = [
        NamedPicture(split, name(sample.image), facts.picture) for split, sample, facts in items if facts.picture
    ]
    yield from judge_copies(pictures)
    yield from judge_drawn(pictures)
    masks = {
        split: [
            NamedMask(name(it.sample.mask), it.facts.mask, it.facts.mask_says)
            for it in items
            if it.split == split and it.facts.mask
        ]
        for split in ("train", *SCORED)
    }
    if folder.classes is not UNKNOWN_CLASSES:
        others = [mask for split in SCORED for mask in masks[split]]
        yield from judge_masks(folder.classes, masks["train"], others, _place(folder), folder.guide)
    yield from judge_fits([NamedFit(name(it.sample.mask), it.facts.fit, it.facts.fit_in_file) for it in items])


def _place(folder: Folder) -> str:
    """Where the masks to learn from lie, for problems of all of them."""
    first = next((sample.mask for sample in folder.train if sample.mask is not None), None)
    return "" if folder.layout else "train/masks" if first is None else relative_to(folder.root, first.parent)


def _read_all(splits: Splits, classes: Classes, progress: Progress | None) -> list[Item]:
    work = [(split, sample) for split, samples in splits.items() for sample in samples]
    bar = progress.add_task("reading every file", total=len(work)) if progress else None
    items, samples = [], [sample for _, sample in work]
    examine_one = partial(examine_sample, classes=classes)
    with closing(in_processes(examine_one, samples, examine_sample.__module__)) as facts:
        for split, sample in work:
            items.append(Item(split, sample, _next_of(facts, sample)))
            if progress is not None and bar is not None:
                progress.advance(bar)
    return items


def _next_of(facts: Iterator[Facts], sample: Sample) -> Facts:
    """The next facts, those of `sample`.

    Raises:
        UserError: a process that reads files is gone.
    """
    try:
        return next(facts)
    except BrokenProcessPool as error:
        what = "a process that reads the files ended in the middle of its work, here or a few files later"
        fix = "Most often the memory is full: end other programs. Otherwise, move these files away one by one."
        raise UserError(what, sample.image, fix) from error


def _labels(items: Sequence[Item], split: str, classes: Classes) -> NDArray[np.int64]:
    """Pixels of each class in each mask [n k] that the classes can read."""
    rows = []
    for item in items:
        if item.split == split and item.facts.mask and not item.facts.mask.unknown(classes):
            labels = item.facts.mask.labels(classes)
            rows += [] if labels is None else [labels[: len(classes)]]
    return np.stack(rows) if rows else np.zeros((0, len(classes)), dtype=np.int64)


def _shares(pixels: NDArray[np.int64], classes: Classes, only_found: bool) -> dict[str, float] | None:
    if not pixels.any():
        return None
    shares = {name: float(count / pixels.sum()) for name, count in zip(classes.names, pixels, strict=True)}
    return {name: share for name, share in shares.items() if share or not only_found}
