"""The contents of a dataset folder: samples by split, each an image and a mask that belong together by name."""

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fewmask.data.classes import MAX_CLASSES, Classes
from fewmask.errors import UserError

JPEG_SUFFIXES = {".jpg", ".jpeg"}
IMAGE_SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".webp"} | JPEG_SUFFIXES
MASK_SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".gif"}
OTHER_FOLDERS = {"__MACOSX", "@eaDir", "masks", "Masks", "labels", "Labels"}
"""Folders inside one of images whose files are not images to learn from."""

UNKNOWN_CLASSES = Classes(names=tuple(f"value {value}" for value in range(MAX_CLASSES)))
"""A stand-in for classes that cannot be read, so that the doctor can go on."""


class Sample(NamedTuple):
    """An image and its mask, or None without a mask; no two samples of a split have the same name."""

    name: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class Folder:
    """What a dataset folder holds, each split sorted by name; a split that is absent is empty.

    Attributes:
        layout: the name of the public dataset whose layout the folder has; empty for our own layout.
        guide: where to get that dataset and how to lay it out; empty for our own layout.
        published_bare: the splits that the dataset is published with, but without masks.
        left_out: pairs of an image and a mask of different sizes, in datasets that are known to have them; in no split.
        notes: what is worth knowing about the folder, though nothing is wrong.
    """

    root: Path
    classes: Classes
    train: tuple[Sample, ...]
    unlabeled: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    layout: str = ""
    guide: str = ""
    published_bare: tuple[str, ...] = ()
    left_out: tuple[Sample, ...] = ()
    notes: tuple[UserError, ...] = ()


def files_by_stem(folder: Path, suffixes: set[str], mistakes: list[UserError]) -> dict[str, Path]:
    """Files by their name without suffix, in composed Unicode, sorted by this name; empty if there is no folder."""
    return _by_name(folder, folder, suffixes, mistakes)


def files_below(folder: Path, suffixes: set[str], mistakes: list[UserError]) -> dict[str, Path]:
    """The same for a folder and all folders in it, where a name holds the folders: `monday/cat_01`.

    Folders called `masks` or `labels` inside are left out: their files are no images.
    """
    found: dict[str, Path] = {}
    seen: set[Path] = set()

    def refused(error: OSError) -> None:
        note_unreadable(Path(error.filename), error, mistakes)

    for here, folders, _ in os.walk(folder, onerror=refused, followlinks=True):
        real = Path(here).resolve()
        if real in seen:  # a link leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in OTHER_FOLDERS)
        found |= _by_name(folder, Path(here), suffixes, mistakes)
    return dict(sorted(found.items()))


def note_unreadable(folder: Path, error: OSError, mistakes: list[UserError]) -> None:
    """Adds that the files of a folder cannot be listed, once; a folder that is not there is none of these."""
    if isinstance(error, FileNotFoundError | NotADirectoryError) or any(
        known.where == str(folder) for known in mistakes
    ):
        return
    mistakes.append(UserError(f"the folder cannot be read ({error.strerror})", folder, "Make it readable."))


def _by_name(top: Path, folder: Path, suffixes: set[str], mistakes: list[UserError]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    try:
        paths = list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        note_unreadable(folder, error, mistakes)
        return found
    prefix = "" if folder == top else f"{folder.relative_to(top).as_posix()}/"
    for path in sorted(paths, key=lambda path: (path.stem, path.suffix)):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if not _is_text(path.name):
            what = f"the file name {path.name!r} is not Unicode"
            mistakes.append(UserError(what, folder, "Rename it, or unpack its archive with the right encoding."))
            continue
        name = unicodedata.normalize("NFC", prefix + path.stem)
        if name in found:
            what = f"{path.name} has the same name as {found[name].name}"
            mistakes.append(UserError(what, folder, "Names must differ without the suffix: rename or remove one."))
        else:
            found[name] = path
    return found


def _is_text(name: str) -> bool:
    """False for a name with bytes that the system cannot read as letters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def paired(images: Mapping[str, Path], masks: Mapping[str, Path], mistakes: list[UserError]) -> tuple[Sample, ...]:
    """A sample for each image, with the mask that has its name if there is one."""
    for name, mask in masks.items():
        if name not in images:
            near = max((stem for stem in images if name.startswith(stem)), key=len, default=None)
            what = "the mask has no image" + (f" (is it that of {images[near].name}?)" if near else "")
            mistakes.append(UserError(what, mask, "Give it the name of its image, or remove it."))
    return tuple(Sample(name, image, masks.get(name)) for name, image in images.items())
