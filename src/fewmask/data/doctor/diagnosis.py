"""Read every file of a dataset before training, name each one that is wrong, and say what to do about it."""

import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from fewmask.data.classes import Classes
from fewmask.data.doctor.sample import Finding, Problem, as_problem, examine_sample, relative_to
from fewmask.data.folder import Folder, Sample, check_is_folder, survey_folder
from fewmask.data.label_counts import foreground_is_ignored
from fewmask.data.processes import in_processes
from fewmask.data.sample import IMAGE_SUFFIXES, JPEG_SUFFIXES, MASK_SUFFIXES, UNKNOWN_CLASSES
from fewmask.errors import UserError
from fewmask.shapes import IGNORE

__all__ = ["Diagnosis", "Problem", "examine"]

FEW_IMAGES = 5  # a class in fewer images than this is worth a note
LEVELS = ("error", "warning", "note")
SCORED = ("val", "test")
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}  # files of Windows; those of other systems start with a dot

Splits = dict[str, tuple[Sample, ...]]


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
    tally = _read_all(splits, folder, progress)
    problems = [*(as_problem(mistake, root) for mistake in mistakes), *tally.problems, *_split_problems(folder)]
    problems += [replace(as_problem(note, root), level="note") for note in folder.notes]
    problems += _left_out(folder) if folder.layout else _unused_files(root)
    if known:
        problems += _class_problems(known, tally, place="" if folder.layout else "train/masks")
    return Diagnosis(
        root=root,
        layout=folder.layout,
        classes=known,
        problems=tuple(sorted(problems, key=lambda problem: LEVELS.index(problem.level))),
        num_images={split: len(samples) for split, samples in splits.items()},
        num_labeled={split: _num_labeled(samples) for split, samples in splits.items()},
        pixel_share={
            split: _shares(tally.pixels[split], folder.classes, known is None) for split in ("train", *SCORED)
        },
        size_range=(tally.smallest, tally.largest) if tally.largest != (0, 0) else None,
    )


@dataclass
class _Tally:
    """The sum over all samples: a few numbers per class, and 16 bytes per image."""

    root: Path
    classes: Classes
    problems: list[Problem] = field(default_factory=list)
    smallest: tuple[int, int] = (1 << 31, 1 << 31)
    largest: tuple[int, int] = (0, 0)
    pixels: dict[str, NDArray[np.int64]] = field(default_factory=dict)  # split: pixels of each label 0..255
    num_train_images: NDArray[np.int64] = field(default_factory=lambda: np.zeros(IGNORE + 1, dtype=np.int64))
    foreground_ignored: list[str] = field(default_factory=list)  # train masks that may be written as 0/255
    first_seen: dict[bytes, tuple[str, Path]] = field(default_factory=dict)  # first split and file of each picture

    def add(self, split: str, sample: Sample, finding: Finding) -> None:
        self.problems += finding.problems
        if finding.size is not None:
            self.smallest = (min(self.smallest[0], finding.size[0]), min(self.smallest[1], finding.size[1]))
            self.largest = (max(self.largest[0], finding.size[0]), max(self.largest[1], finding.size[1]))
        if finding.counts is not None:
            self.pixels[split] += finding.counts
            if split == "train":
                self.num_train_images += finding.counts > 0
                if (
                    sample.mask is not None
                    and finding.counts[0]
                    and foreground_is_ignored(self.classes, finding.counts)
                ):
                    self.foreground_ignored.append(relative_to(self.root, sample.mask))
        if finding.digest is not None:
            first_split, first = self.first_seen.setdefault(finding.digest, (split, sample.image))
            if first != sample.image:
                self.problems.append(self._same_picture(split, sample.image, first_split, first))

    def _same_picture(self, split: str, image: Path, first_split: str, first: Path) -> Problem:
        text = f"the same picture as {relative_to(self.root, first)}"
        if split == first_split:
            return Problem("warning", relative_to(self.root, image), text, "Remove one of the two.")
        if split in SCORED:
            fix = f"Remove one: a score on pictures that {first_split} holds as well says nothing."
            return Problem("error", relative_to(self.root, image), text, fix)
        return Problem("warning", relative_to(self.root, image), text, f"Remove the one in {split}.")


def _read_all(splits: Splits, folder: Folder, progress: Progress | None) -> _Tally:
    tally = _Tally(
        folder.root, folder.classes, pixels={split: np.zeros(IGNORE + 1, dtype=np.int64) for split in splits}
    )
    work = [(split, sample) for split, samples in splits.items() for sample in samples]
    bar = progress.add_task("reading every file", total=len(work)) if progress else None
    examine_one = partial(examine_sample, classes=folder.classes, root=folder.root, guide=folder.guide)
    samples = [sample for _, sample in work]
    with closing(in_processes(examine_one, samples, examine_sample.__module__)) as findings:
        for split, sample in work:
            tally.add(split, sample, _next_of(findings, sample))
            if progress is not None and bar is not None:
                progress.advance(bar)
    return tally


def _next_of(findings: Iterator[Finding], sample: Sample) -> Finding:
    """The next finding, that of `sample`.

    Raises:
        UserError: a process that reads files is gone.
    """
    try:
        return next(findings)
    except BrokenProcessPool as error:
        what = "a process that reads the files ended in the middle of its work, here or a few files later"
        fix = "Most often the memory is full: end other programs. Otherwise, move these files away one by one."
        raise UserError(what, sample.image, fix) from error


def _split_problems(folder: Folder) -> Iterator[Problem]:
    num_labeled = _num_labeled(folder.train)
    if folder.train and not num_labeled and not folder.layout:  # a public dataset has a line of its own
        fix = "Put at least one there (png, bmp, tif), with the name of its image."
        yield Problem("error", "train/masks", "no train image has a mask", fix)
    elif folder.train and num_labeled == len(folder.train) and not folder.unlabeled:
        fix = "Hide masks with --labels to see how few are enough, or add images without masks."
        yield Problem("note", "", "every image has a mask, so there are no unlabeled ones to learn from", fix)
    if not folder.val:
        fix = "Keep some images with masks in val to see scores while training."
        yield Problem("note", "", "there is no val", fix)
    for split, samples in (("val", folder.val), ("test", folder.test)):
        num_missing = len(samples) - _num_labeled(samples)
        if num_missing:
            text = f"{num_missing} of {len(samples)} images have no mask"
            if split in folder.published_bare:
                yield Problem("note", split, text, "They were published without, and are not scored.")
            else:
                fix = folder.guide or "Images without a mask are not scored: add it, or remove them."
                yield Problem("warning", split, text, fix)


def _class_problems(classes: Classes, tally: _Tally, place: str) -> Iterator[Problem]:
    pixels = tally.pixels["train"]
    if not pixels.any():
        return
    if mistake := foreground_is_ignored(classes, pixels):
        yield Problem("error", place, mistake.what, mistake.fix)
        return
    if tally.foreground_ignored and pixels[1]:
        count, first = len(tally.foreground_ignored), tally.foreground_ignored[0]
        text = f"{count} masks hold 255, which is ignored, and no {classes.names[1]}; others do"
        fix = f"If 255 means {classes.names[1]} in these, such as {first}, make all masks alike."
        yield Problem("warning", place, text, fix)
    if not pixels[: len(classes)].any():
        text = "every pixel of every mask is ignored, so there is nothing to learn"
        yield Problem("error", place, text, "Label something in them, or correct `ignore` in dataset.yaml.")
        return
    for name, num_images in zip(classes.names, tally.num_train_images, strict=False):
        if num_images == 0:
            fix = "Label it in at least one image, or take it out of the classes."
            yield Problem("warning", place, f"class {name} has no labels", fix)
        elif num_images < FEW_IMAGES:
            text = f"class {name} is labeled in only {num_images} image{'' if num_images == 1 else 's'}"
            yield Problem("note", place, text, "It will be learned better with more of them.")


def _left_out(folder: Folder) -> Iterator[Problem]:
    for sample in folder.left_out:
        assert sample.mask is not None
        text = "the mask is not of the size of its image, and both are left out"
        fix = f"Nothing needs to be done: {folder.layout} is known for a few such."
        yield Problem("note", relative_to(folder.root, sample.mask), text, fix)


def _unused_files(root: Path) -> Iterator[Problem]:
    unlabeled = "unlabeled/images" if (root / "unlabeled" / "images").is_dir() else "unlabeled"
    for part in (unlabeled, *(f"{split}/{kind}" for split in ("train", *SCORED) for kind in ("images", "masks"))):
        suffixes = MASK_SUFFIXES | JPEG_SUFFIXES if part.endswith("masks") else IMAGE_SUFFIXES
        readable = (root / part).is_dir() and os.access(root / part, os.R_OK)  # the survey has named other folders
        names = sorted(path.name for path in (root / part).iterdir()) if readable else []
        kept = [name for name in names if not name.startswith(".") and name.lower() not in SYSTEM_FILES]
        unused = [name for name in kept if Path(name).suffix.lower() not in suffixes]
        if unused:
            more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
            text = f"not read: {', '.join(unused[:3])}{more}"
            fix = "Images may be png, jpg, bmp, tif or webp, masks png, bmp or tif; deeper folders are not read."
            yield Problem("warning" if part.endswith("masks") else "note", part, text, fix)


def _num_labeled(samples: tuple[Sample, ...]) -> int:
    return sum(sample.mask is not None for sample in samples)


def _shares(pixels: NDArray[np.int64], classes: Classes, only_found: bool) -> dict[str, float] | None:
    labeled = pixels[: len(classes)]
    if not labeled.any():
        return None
    shares = {name: float(count / labeled.sum()) for name, count in zip(classes.names, labeled, strict=True)}
    return {name: share for name, share in shares.items() if share or not only_found}
