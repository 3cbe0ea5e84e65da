"""A dataset folder as lists of samples, from the names of its files alone.

DATA/ dataset.yaml or classes.txt
      train/images/NAME.jpg  train/masks/NAME.png    an image without a mask is unlabeled
      unlabeled/* (or unlabeled/images/*)            optional
      val/images val/masks  test/images test/masks   optional
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fewmask.data.classes import Classes, read_classes
from fewmask.errors import UserError

JPEG_SUFFIXES = {".jpg", ".jpeg"}
IMAGE_SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".webp"} | JPEG_SUFFIXES
MASK_SUFFIXES = {".png", ".bmp", ".tif", ".tiff"}


class Sample(NamedTuple):
    """An image and its mask, None where there is none; both files have the stem `name`."""

    name: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class Folder:
    """What a dataset folder holds, each split sorted by name; a split that is absent is empty."""

    root: Path
    classes: Classes
    train: tuple[Sample, ...]
    unlabeled: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]


def read_folder(root: Path | str) -> Folder:
    """The samples of a dataset, without opening an image.

    Raises:
        UserError: no folder, no classes, no train/images, two files of one name, a mask without an image or in JPEG.
    """
    root = Path(root)
    check_is_folder(root)
    folder, mistakes = survey_folder(root, read_classes(root))
    if mistakes:
        raise mistakes[0]
    return folder


def check_is_folder(root: Path) -> None:
    """Raise where there is no folder at all."""
    if not root.is_dir():
        raise UserError("there is no such folder", root, "Give the folder that holds train/images.")


def survey_folder(root: Path, classes: Classes) -> tuple[Folder, list[UserError]]:
    """The samples as far as they can be told, and every mistake in the names of the files."""
    mistakes: list[UserError] = []
    train, val, test = (_read_split(root / split, mistakes) for split in ("train", "val", "test"))
    if not train and (root / "train" / "images").is_dir():
        fix = f"Put images there ({', '.join(sorted(IMAGE_SUFFIXES))}); deeper folders are not read."
        mistakes.append(UserError("the folder holds no image", root / "train" / "images", fix))
    nested = root / "unlabeled" / "images"
    extra = _by_stem(nested if nested.is_dir() else root / "unlabeled", IMAGE_SUFFIXES, mistakes)
    unlabeled = tuple(Sample(name, image, None) for name, image in extra.items())
    return Folder(root, classes, train, unlabeled, val, test), mistakes


def _read_split(split: Path, mistakes: list[UserError]) -> tuple[Sample, ...]:
    if not (split / "images").is_dir():
        if split.name == "train" or split.is_dir():
            fix = f"Put images in {split.name}/images and their masks, of the same names, in {split.name}/masks."
            mistakes.append(UserError("there is no folder `images`", split, fix))
        return ()
    images = _by_stem(split / "images", IMAGE_SUFFIXES, mistakes)
    masks = _by_stem(split / "masks", MASK_SUFFIXES | JPEG_SUFFIXES, mistakes)
    for name, mask in masks.items():
        if mask.suffix.lower() in JPEG_SUFFIXES:
            fix = "Export it again as PNG; do not convert the JPEG."
            mistakes.append(UserError("the mask is a JPEG, and JPEG changes label values", mask, fix))
        if name not in images:
            near = next((image.name for stem, image in images.items() if name.startswith(stem)), "")
            what = "the mask has no image" + (f" (is it that of {near}?)" if near else "")
            mistakes.append(UserError(what, mask, "Give it the name of its image, or remove it."))
    usable = {name: mask for name, mask in masks.items() if mask.suffix.lower() in MASK_SUFFIXES}
    return tuple(Sample(name, image, usable.get(name)) for name, image in images.items())


def _by_stem(folder: Path, suffixes: set[str], mistakes: list[UserError]) -> dict[str, Path]:
    """Files by name without suffix, sorted by it; empty where there is no folder."""
    found: dict[str, Path] = {}
    paths = folder.iterdir() if folder.is_dir() else ()
    for path in sorted(paths, key=lambda path: (path.stem, path.suffix)):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            what = f"{path.name} has the same name as {found[path.stem].name}"
            mistakes.append(UserError(what, folder, "Names must differ without the suffix: rename or remove one."))
        else:
            found[path.stem] = path
    return found
