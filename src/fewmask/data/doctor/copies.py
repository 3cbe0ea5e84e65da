"""Finds the same picture twice: to the bit, or nearly, as after another compression or at another size."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewmask.data.doctor.picture_facts import PictureFacts
from fewmask.data.doctor.problem import Problem

SCORED = ("val", "test")
_CORRELATION = 0.98  # of two thumbnails, without their means
_LEVELS = 3.0  # mean distance of two thumbnails without their means, in levels of 0..255
_BRIGHTER = 16.0  # levels between their means
_CHUNK = 4096  # pictures that are compared at once


class NamedPicture(NamedTuple):
    """The facts of an image, its split, and its path in the data set."""

    split: str
    file: str
    facts: PictureFacts


def judge_copies(pictures: Sequence[NamedPicture]) -> Iterator[Problem]:
    """Equal pictures anywhere, and nearly equal ones between a split that is scored and another."""
    first: dict[bytes, NamedPicture] = {}
    copies: set[str] = set()
    for picture in pictures:
        if picture.facts.digest is None:
            continue
        before = first.setdefault(picture.facts.digest, picture)
        if before.file != picture.file:
            copies.add(picture.file)
            yield _same(picture, before)
    yield from _near_copies([picture for picture in pictures if picture.file not in copies])


def _same(picture: NamedPicture, first: NamedPicture) -> Problem:
    text = f"the same picture as {first.file}"
    if picture.split == first.split:
        return Problem("warning", picture.file, text, "Remove one of the two.")
    if picture.split in SCORED:
        fix = f"Remove one: a score on pictures that {first.split} holds as well says nothing."
        return Problem("error", picture.file, text, fix)
    return Problem("warning", picture.file, text, f"Remove the one in {picture.split}.")


def _near_copies(pictures: Sequence[NamedPicture]) -> Iterator[Problem]:
    """For each scored picture the one of another split that is nearest to it, if it is nearly the same."""
    known = [picture for picture in pictures if picture.facts.thumbnail is not None]
    for split in SCORED:
        scored = [picture for picture in known if picture.split == split]
        others = [picture for picture in known if picture.split != split and (split, picture.split) != SCORED]
        if not scored or not others:
            continue
        for start in range(0, len(others), _CHUNK):
            some = others[start : start + _CHUNK]
            left, right = _thumbnails(scored), _thumbnails(some)
            alike = _unit(left) @ _unit(right).T
            for row in np.flatnonzero(alike.max(axis=1) >= _CORRELATION):
                column = int(alike[row].argmax())
                apart = left[row] - right[column]
                if abs(apart.mean()) <= _BRIGHTER and np.abs(apart - apart.mean()).mean() <= _LEVELS:
                    text = f"nearly the same picture as {some[column].file}"
                    fix = f"Remove one if they show the same: a score on pictures of {some[column].split} says nothing."
                    yield Problem("warning", scored[row].file, text, fix)


def _thumbnails(pictures: Sequence[NamedPicture]) -> NDArray[np.float32]:
    return np.stack([np.asarray(picture.facts.thumbnail, np.float32).ravel() for picture in pictures])


def _unit(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    centered = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    unit: NDArray[np.float32] = centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-6)
    return unit
