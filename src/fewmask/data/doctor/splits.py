"""Compares the splits: images without masks, classes without labels, and shares that differ more than by chance."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fewmask.data.classes import Classes
from fewmask.data.doctor.problem import Problem
from fewmask.data.folder import Folder
from fewmask.data.sample import Sample

FEW_IMAGES = 5  # a class in fewer images than this is worth a note
_ERRORS = 5.0  # so many standard errors apart, two means differ by more than chance
_POINTS = 0.2  # and by so much of all pixels
_OF_FEW = 0.6  # the same where a split has too few images for a standard error


def judge_counts(folder: Folder, has_mistakes: bool) -> Iterator[Problem]:
    """What the numbers of images and masks say; of train nothing if its files have mistakes, which say more."""
    num_labeled = _num_labeled(folder.train)
    if folder.train and not num_labeled and not folder.layout and not has_mistakes:
        fix = "Put at least one there (png, bmp, tif, gif), with the name of its image."
        yield Problem("error", "train/masks", "no train image has a mask", fix)
    elif folder.train and num_labeled and num_labeled == len(folder.train) and not folder.unlabeled:
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


def judge_classes(classes: Classes, train: NDArray[np.int64], place: str) -> Iterator[Problem]:
    """Classes that no mask to learn from holds, or only few of them.

    Args:
        train: [n k] pixels of each class in each mask.
    """
    if not train.any():  # said by those who judge the masks
        return
    for name, num_images in zip(classes.names, (train > 0).sum(axis=0).tolist(), strict=True):
        if num_images == 0:
            fix = "Label it in at least one image, or take it out of the classes."
            yield Problem("warning", place, f"class {name} has no labels", fix)
        elif num_images < FEW_IMAGES:
            text = f"class {name} is labeled in only {num_images} image{'' if num_images == 1 else 's'}"
            yield Problem("note", place, text, "It will be learned better with more of them.")


def judge_shares(classes: Classes, train: NDArray[np.int64], scored: dict[str, NDArray[np.int64]]) -> Iterator[Problem]:
    """Classes whose share of the pixels differs between train and a split that is scored.

    Args:
        train: [n k] pixels of each class in each mask.
        scored: the same for val and test.
    """
    ours = _shares(train)
    for split, counts in scored.items():
        theirs = _shares(counts)
        if not len(ours) or not len(theirs):
            continue
        for name, own, other in zip(classes.names, ours.T, theirs.T, strict=True):
            apart = abs(own.mean() - other.mean())
            if apart > _threshold(own, other):
                text = f"class {name} has {own.mean():.1%} of the pixels of a train mask, but {other.mean():.1%} here"
                fix = "See whether these masks are written as those of train are, and whether the splits show the same."
                yield Problem("warning", split, text, fix)


def _threshold(own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if min(len(own), len(other)) < FEW_IMAGES:
        return _OF_FEW
    return max(_POINTS, _ERRORS * float(np.sqrt(own.var(ddof=1) / len(own) + other.var(ddof=1) / len(other))))


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of each class in each mask that has a label."""
    labeled = counts[counts.any(axis=1)]
    shares: NDArray[np.float64] = labeled / labeled.sum(axis=1, keepdims=True)
    return shares


def _num_labeled(samples: Sequence[Sample]) -> int:
    return sum(sample.mask is not None for sample in samples)
