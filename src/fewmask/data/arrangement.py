"""Where a folder keeps the images and the masks of each split: the usual names of folders, in either order.

SPLIT/images and SPLIT/masks, images/SPLIT and masks/SPLIT, SPLIT_images and SPLIT_masks, images and masks together in
SPLIT, or no splits at all, where everything is train. Names are compared without capital letters.
"""

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fewmask.data.sample import IMAGE_SUFFIXES, JPEG_SUFFIXES, MASK_SUFFIXES, files_below, note_unreadable
from fewmask.errors import UserError

SPLITS = {
    "train": ("train", "training"),
    "unlabeled": ("unlabeled", "unlabelled"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_IMAGES = (
    "images",
    "image",
    "imgs",
    "img",
    "img_dir",
    "image_dir",
    "jpegimages",
    "photos",
    "pictures",
    "inputs",
    "input",
)
_MASKS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot", "ann_dir", "anns", "ann"),
    *("gt", "gts", "groundtruth", "ground_truth", "targets", "target", "segmentations", "segmentation"),
    *("segmentationclass", "segmentationclasspng", "labelmaps", "seg", "masks_png"),
)
SPLIT_NAMES = {name for names in SPLITS.values() for name in names}


class Place(NamedTuple):
    """The folders of a split; `masks` is None without one, and equals `images` where both lie together."""

    images: Path
    masks: Path | None


def find_places(root: Path, mistakes: list[UserError]) -> dict[str, Place]:
    """The folders of every split that there is; a mistake for every split that lies in two places.

    Raises nothing. A split whose folders are empty is found all the same, so that this can be said of it.
    """
    places = {}
    for folder in _named(root, (*SPLIT_NAMES, *_IMAGES, *_MASKS)):
        try:
            next(folder.iterdir(), None)
        except OSError as error:
            note_unreadable(folder, error, mistakes)
    for split in SPLITS:
        place = find_place(root, split, mistakes)
        if place is not None:
            places[split] = place
    if not places.keys() - {"unlabeled"} and (images := _first(root, _IMAGES)) is not None:
        places["train"] = Place(images, _masks_in(root, images, mistakes))
    elif not places.keys() - {"unlabeled"} and _holds(root, IMAGE_SUFFIXES, deep=False):
        places["train"] = Place(root, _masks_in(root, root, mistakes))
    return places


def find_place(root: Path, split: str, mistakes: list[UserError]) -> Place | None:
    """The folders of one split; a mistake if it lies in two places."""
    found = _of_split(root, split, mistakes)
    filled = [place for place in found if _holds(place.images, IMAGE_SUFFIXES)] or found[:1]
    if len({place.images for place in filled}) > 1:
        first, second = (_shown(root, place.images) for place in filled[:2])
        mistakes.append(UserError(f"{split} has images in {first} and in {second}", root, "Keep one of the two."))
    return filled[0] if filled else None


def mask_folders(names: Iterable[str]) -> set[str]:
    """Which folders of one place hold masks, by their names.

    These are masks, labels, annotations, and names with a split, such as train_gt. If a folder of images is among
    them, all other usual names count, too.
    """
    lower = {name: name.lower() for name in names}
    others = set() if set(_IMAGES).isdisjoint(lower.values()) else set(_MASKS)
    return {name for name, text in lower.items() if text in _masks_anywhere() | others}


@cache
def _masks_anywhere() -> set[str]:
    joined = {text for split in SPLIT_NAMES for text in _joined(split, _MASKS)}
    return {"masks", "labels", "annotations"} | joined


def splits_of_cases(root: Path) -> dict[str, Path]:
    """The folder of each split that holds cases (see `cases_in`); for train this may be the data set itself."""
    found = {"train": root} if cases_in(root) else {}
    for split in ("train", "val", "test"):
        folder = next((folder for folder in _named(root, SPLITS[split]) if cases_in(folder)), None)
        found |= {} if folder is None else {split: folder}
    return found


def cases_in(folder: Path) -> list[Place]:
    """The folders in a folder that each hold one image and its masks, as some challenges lay them out.

    One of them may be without masks. A folder that is named as a split is none of them.
    """
    inside = [path for path in _folders(folder) if path.name.lower() not in SPLIT_NAMES]
    found = [Place(images, _first(path, _MASKS)) for path in inside if (images := _first(path, _IMAGES)) is not None]
    are_cases = any(case.masks and len(files_below(case.images, IMAGE_SUFFIXES, [])) == 1 for case in found)
    return found if are_cases else []


def other_folders(place: Path, known: Iterable[Path]) -> list[str]:
    """The names of the folders beside those that are known."""
    return [path.name for path in _folders(place) if path not in set(known)]


def _of_split(root: Path, split: str, mistakes: list[UserError]) -> list[Place]:
    found = []
    for folder in _named(root, SPLITS[split]):
        images = _first(folder, _IMAGES)
        if split == "unlabeled":
            found.append(Place(images or folder, None))
        elif images is not None:
            found.append(Place(images, _masks_in(folder, images, mistakes)))
        elif _holds(folder, IMAGE_SUFFIXES, deep=False):
            beside = _one_of(_named(root, _joined(folder.name.lower(), _MASKS)), mistakes)
            found.append(Place(folder, beside or _masks_in(folder, folder, mistakes)))
    for parent in _named(root, _IMAGES):
        for images in _named(parent, SPLITS[split]):
            of_masks = [masks for other in _named(root, _MASKS) for masks in _named(other, SPLITS[split])]
            found.append(Place(images, _one_of(of_masks, mistakes)))
    for name in SPLITS[split]:
        for folder in _named(root, _joined(name, _IMAGES)):
            found.append(Place(folder, _one_of(_named(root, _joined(name, _MASKS)), mistakes)))
    return found


def _joined(split: str, kinds: Iterable[str]) -> list[str]:
    """The names of folders that say both the split and what is in them."""
    return [text for kind in kinds for mark in ("_", "-", "") for text in (split + mark + kind, kind + mark + split)]


def _masks_in(folder: Path, images: Path, mistakes: list[UserError]) -> Path | None:
    """The folder of masks in `folder`; the folder of the images itself if the masks may lie among them."""
    found = _one_of(_named(folder, _MASKS), mistakes)
    return found if found is not None else images if _holds(images, MASK_SUFFIXES) else None


def _one_of(folders: list[Path], mistakes: list[UserError]) -> Path | None:
    """The folder of masks among several: the one called masks, else the only one with pictures."""
    canonical = [folder for folder in folders if "masks" in (folder.name, folder.parent.name)]
    filled = [folder for folder in canonical or folders if _holds(folder, MASK_SUFFIXES | JPEG_SUFFIXES)]
    if len(filled) > 1:
        names = " and ".join(_shown(folders[0].parent, folder) for folder in filled)
        what = f"{len(filled)} folders may hold the masks: {names}"
        mistakes.append(UserError(what, folders[0].parent, "Call the right one masks."))
    return next(iter(filled or canonical or folders), None)


def _named(folder: Path, names: Iterable[str]) -> list[Path]:
    """The folders in `folder` with one of these names, in the order of the names."""
    order = {name: position for position, name in enumerate(names)}
    found = [path for path in _folders(folder) if path.name.lower() in order]
    return sorted(found, key=lambda path: (order[path.name.lower()], path.name.lower() != path.name, path.name))


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    return next(iter(_named(folder, names)), None)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # said of the folders of splits by `find_places`, and of those of images where they are listed
        return []


def _holds(folder: Path, suffixes: set[str], deep: bool = True) -> bool:
    """Whether a file with one of these endings lies in the folder."""
    for _, folders, files in os.walk(folder):
        if any(Path(name).suffix.lower() in suffixes and not name.startswith(".") for name in files):
            return True
        if not deep:
            folders.clear()
    return False


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
