"""Examine one image and its mask: decode both, find what is wrong with them, and count their pixels."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewmask.data.classes import Classes
from fewmask.data.folder import Sample
from fewmask.data.images import ClassesError, num_pictures, read_image, read_mask
from fewmask.errors import UserError
from fewmask.shapes import IGNORE, ByteImage

FLAT_RANGE = 32  # a picture whose levels span less than this shows next to nothing


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file. `file` is relative to the dataset, and empty if the problem is the whole dataset."""

    level: Literal["error", "warning", "note"]
    file: str
    text: str
    fix: str


class Finding(NamedTuple):
    """What the doctor keeps of a sample; a value is None if it could not be read."""

    size: tuple[int, int] | None  # height, width of the image
    digest: bytes | None  # hash of its pixels; None for a flat picture, which may equal others by chance
    counts: NDArray[np.int64] | None  # pixels of the mask with each label 0..255
    problems: list[Problem]


def examine_sample(sample: Sample, classes: Classes, root: Path, guide: str = "") -> Finding:
    """Decode the image and the mask and compare them; every mistake becomes a problem.

    A dataset.yaml can fix a mask with other classes only in our own layout. So a public dataset gives its `guide` as
    the remedy.
    """
    problems: list[Problem] = []
    size, digest, counts = None, None, None
    try:
        image, count = read_image(sample.image), num_pictures(sample.image)
    except UserError as mistake:
        problems.append(as_problem(mistake, root))
    else:
        size = (image.shape[1], image.shape[2])
        if count > 1:
            text = f"the file holds {count} pictures, and only the first is read"
            fix = "Save each as a file of its own."
            problems.append(Problem("warning", relative_to(root, sample.image), text, fix))
        darkest, brightest = int(image.min()), int(image.max())
        if brightest - darkest >= FLAT_RANGE:
            digest = _digest(image)
        else:
            text = f"the picture is nearly flat: its levels are {darkest} to {brightest} of 0 to 255"
            fix = "Stretch 10- or 12-bit levels to the full range of 16 bits; remove an empty picture."
            problems.append(Problem("warning", relative_to(root, sample.image), text, fix))
    if sample.mask is not None:
        try:
            label = read_mask(sample.mask, classes).numpy()
        except ClassesError as mistake:
            problems.append(as_problem(UserError(mistake.what, mistake.where, guide or mistake.fix), root))
        except UserError as mistake:
            problems.append(as_problem(mistake, root))
        else:
            counts = np.bincount(label.ravel(), minlength=IGNORE + 1)
            problems += _compare(relative_to(root, sample.mask), (label.shape[0], label.shape[1]), size, counts)
    return Finding(size, digest, counts, problems)


def as_problem(mistake: UserError, root: Path) -> Problem:
    """The mistake as a problem of the doctor's list."""
    return Problem("error", relative_to(root, Path(mistake.where)), mistake.what, mistake.fix)


def relative_to(root: Path, path: Path) -> str:
    """The path from `root`, such as `train/images/cat.jpg`, with forward slashes; empty for `root` itself."""
    if path == root:
        return ""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _compare(
    mask: str, mask_size: tuple[int, int], image_size: tuple[int, int] | None, counts: NDArray[np.int64]
) -> list[Problem]:
    if image_size is not None and image_size != mask_size:
        text = f"the mask is {_size_text(mask_size)} pixels, but its image {_size_text(image_size)}"
        fix = "Make both the same size; scale a mask with nearest neighbor only."
        if image_size == mask_size[::-1]:
            fix = (
                "Turn the mask by 90 degrees: it was probably drawn before the EXIF rotation of the image was applied."
            )
        return [Problem("error", mask, text, fix)]
    if counts[IGNORE] == counts.sum():
        return [Problem("warning", mask, "every pixel of the mask is ignored", "Label something in it, or remove it.")]
    return []


def _size_text(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width} x {height}"


def _digest(image: ByteImage) -> bytes:
    pixels = blake2b(repr(image.shape).encode(), digest_size=16)
    pixels.update(image.numpy().data)
    return pixels.digest()
