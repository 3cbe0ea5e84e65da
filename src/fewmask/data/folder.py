"""A dataset folder as lists of samples, from the names of its files alone.

DATA/ dataset.yaml or classes.txt
      train/images/NAME.jpg  train/masks/NAME.png    an image without a mask is unlabeled
      unlabeled/* (or unlabeled/images/*)            optional
      val/images val/masks  test/images test/masks   optional

`arrangement` knows other places of the same folders, and `pairing` other names of masks. A folder may also be a public
dataset as it is published: see `layouts`. With a dataset.yaml it keeps its layout, and has classes of its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fewmask.data.arrangement import (
    SPLIT_NAMES,
    Place,
    cases_in,
    find_place,
    find_places,
    other_folders,
    splits_of_cases,
)
from fewmask.data.classes import CLASS_FILES, Classes, read_classes
from fewmask.data.layouts import LAYOUTS, OWN_CLASSES, Layout, layout_of
from fewmask.data.other_formats import masks_in_another_format
from fewmask.data.pairing import masks_among, pair_masks
from fewmask.data.sample import (
    IMAGE_SUFFIXES,
    JPEG_SUFFIXES,
    MASK_SUFFIXES,
    UNKNOWN_CLASSES,
    Folder,
    Sample,
    files_below,
    files_by_stem,
    paired,
)
from fewmask.errors import UserError, in_command

__all__ = ["Folder", "Sample", "check_is_folder", "read_folder", "survey_folder"]


def read_folder(root: Path | str) -> Folder:
    """The samples of a dataset, without decoding an image.

    Raises:
        UserError: no folder, no classes, no train/images, two files with one name, a mask without an image, a mask in
            JPEG, or a public dataset of which a part is missing.
    """
    root = Path(root)
    check_is_folder(root)
    folder, mistakes = survey_folder(root)
    if mistakes:
        raise mistakes[0]
    return folder


def check_is_folder(root: Path) -> None:
    """Raises UserError if there is no folder."""
    if not root.is_dir():
        raise UserError("there is no such folder", root, "Give the folder that holds train/images.")


def survey_folder(root: Path) -> tuple[Folder, list[UserError]]:
    """The samples as far as the names of the files tell them, and every mistake in these names.

    If the classes cannot be read, that is the first mistake, and the classes are UNKNOWN_CLASSES.
    """
    is_ours = any((root / file).is_file() for file in CLASS_FILES)
    layout = None if is_ours else layout_of(root)
    mistakes: list[UserError] = []
    if layout is not None:
        below = _whole_below(root) if layout.missing(root) else None
        folder, mistakes = _in_layout(root, layout)
        return folder, mistakes if below is None else [below]
    classes = UNKNOWN_CLASSES
    try:
        classes = read_classes(root)
    except UserError as mistake:
        mistakes.append(mistake if is_ours else _in_no_layout(root, mistake))
    if is_ours and not (root / "train" / "images").is_dir():
        layout = layout_of(root)
        if layout is not None and layout in OWN_CLASSES and not layout.missing(root):
            return _with_own_classes(root, layout, classes, mistakes)
    places = find_places(root, mistakes)
    notes: list[UserError] = []
    samples = {
        split: _read_split(root, split, place, mistakes, notes)
        for split, place in places.items()
        if split != "unlabeled"
    }
    if "train" not in places:
        mistakes.append(_without_train(root))
    elif not any(sample.mask for sample in samples["train"]):
        mistakes += masks_in_another_format(root, places["train"])
    unlabeled = _read_unlabeled(places.get("unlabeled"), mistakes)
    train, val, test = (samples.get(split, ()) for split in ("train", "val", "test"))
    return Folder(root, classes, train, unlabeled, val, test, notes=tuple(notes)), mistakes


def _in_layout(root: Path, layout: Layout) -> tuple[Folder, list[UserError]]:
    """The files of a public layout, and the unlabeled images where our own layout has them."""
    folder, mistakes = layout.survey(root)
    more = _read_unlabeled(find_place(root, "unlabeled", mistakes), mistakes)
    return replace(folder, unlabeled=(*folder.unlabeled, *more)), mistakes


def _with_own_classes(
    root: Path, layout: Layout, classes: Classes, mistakes: list[UserError]
) -> tuple[Folder, list[UserError]]:
    """The files of a public layout with the classes of dataset.yaml."""
    folder, others = _in_layout(root, layout)
    note = UserError(f"the files are laid out as in {layout.name}, and the classes are those of dataset.yaml", root)
    notes = (*folder.notes, note)
    return replace(folder, classes=classes, layout="", guide="", notes=notes), [*mistakes, *others]


def _in_no_layout(root: Path, mistake: UserError) -> UserError:
    """The mistake of a folder without classes, with advice on how to give a public dataset."""
    if whole := _whole_below(root):
        return whole
    below = _layouts_below(root)
    if below and not (root / "train" / "images").is_dir():
        path, layout = below[0]
        return UserError(
            f"the folder holds a part of {layout.name} one level down, in {path.name}", root, layout.advice
        )
    known = ", ".join(dict.fromkeys(layout.name for layout in LAYOUTS))
    return UserError(mistake.what, mistake.where, f"{mistake.fix} These are read as they come: {known}.")


def _layouts_below(root: Path) -> list[tuple[Path, Layout]]:
    return [(path, layout) for path in sorted(root.iterdir()) if (layout := layout_of(path)) is not None]


def _whole_below(root: Path) -> UserError | None:
    """The mistake of giving the folder above a public dataset, or above several of them."""
    whole = [(path, layout) for path, layout in _layouts_below(root) if not layout.missing(path)]
    if not whole:
        return None
    names = " and ".join(dict.fromkeys(layout.name for _, layout in whole))
    where = " and ".join(path.name for path, _ in whole)
    what = f"the folder holds {names} one level down, in {where}"
    return UserError(what, root, f"Give {' or '.join(str(path) for path, _ in whole)}.")


def _without_train(root: Path) -> UserError:
    """The mistake of a folder in which no images to learn from are found, judged from the names in it."""
    train = splits_of_cases(root).get("train")
    if train is not None:
        cases = [case.images.parent.name for case in cases_in(train)]
        what = f"{len(cases)} folders such as {cases[0]} hold an image and its masks each"
        convert = f"fewmask convert {in_command(root)} --out {in_command(root.name + '_converted')}"
        return UserError(what, train, f"Merge the masks of each image: {convert}")
    if mistakes := masks_in_another_format(root, Place(root, None)):
        return mistakes[0]
    found = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    beside = f", only {', '.join(found[:5])}" if found else ""
    fix = "Put images in train/images and their masks, of the same names, in train/masks."
    return UserError(f"there is no folder `train/images`{beside}", root, fix)


def _read_split(
    root: Path, split: str, place: Place, mistakes: list[UserError], notes: list[UserError]
) -> tuple[Sample, ...]:
    is_bare = place.images == root or (place.images.parent == root and place.images.name.lower() in SPLIT_NAMES)
    images = (files_by_stem if is_bare else files_below)(place.images, IMAGE_SUFFIXES, mistakes)
    if not images and split == "train":  # in this case nothing is wrong with the masks
        fix = f"Put images there ({', '.join(sorted(IMAGE_SUFFIXES))})."
        mistakes.append(UserError("the folder holds no image that can be read", place.images, fix))
        return ()
    if mistake := _splits_inside(root, place, images):
        mistakes.append(mistake)
        return ()
    among = masks_among(images)
    mistakes += [] if is_bare else _masks_inside(place)
    masks: Mapping[str, Path] = {}
    if place.masks is not None and place.masks != place.images:
        masks = files_below(place.masks, MASK_SUFFIXES | JPEG_SUFFIXES, mistakes)
        for name, image in among.items():
            what = f"the file lies among the images and is named as the mask of {images[image].name}"
            mistakes.append(UserError(what, images[name], f"Move it to {place.masks.name}, or remove it."))
    elif among:
        masks = {name: images.pop(name) for name in among}
    elif split == "train" and (others := other_folders(place.images.parent, [place.images])):
        fix = f"Call it masks if it holds them: {', '.join(others)}."
        if place.images.parent != root:
            what = "there is no folder `masks`, but another beside `images`"
            mistakes.append(UserError(what, place.images.parent, fix))
    return pair_masks(root, images, masks, mistakes, notes)


def _splits_inside(root: Path, place: Place, images: Mapping[str, Path]) -> UserError | None:
    """The mistake of images of several splits in the folder of one, with the move that puts it right."""
    inside = {name.partition("/")[0] for name in images if "/" in name}
    splits = sorted(name for name in inside if name.lower() in SPLIT_NAMES)
    if not splits:
        return None
    what = f"the folder of one split holds folders called {' and '.join(splits)}"
    folders = [folder for folder in (place.images, place.masks) if folder is not None]
    moved = [f"{folder.relative_to(root).as_posix()} to {folder.name}" for folder in dict.fromkeys(folders)]
    return UserError(what, place.images, f"Move {' and '.join(moved)}, right in the dataset.")


def _masks_inside(place: Place) -> list[UserError]:
    """The mistake of a folder of masks in one of images."""
    inside = [place.images / name for name in ("masks", "Masks", "labels", "Labels")]
    what = "this folder of masks lies among images without masks, and is not read"
    fix = "Move the masks to train/masks and their images to train/images, or remove it."
    return [UserError(what, path, fix) for path in inside if path.is_dir() and path != place.masks][:1]


def _read_unlabeled(place: Place | None, mistakes: list[UserError]) -> tuple[Sample, ...]:
    if place is None:
        return ()
    images = files_below(place.images, IMAGE_SUFFIXES, mistakes)
    mistakes += _masks_inside(place)
    among = masks_among(images)
    if among:
        name, image = next(iter(among.items()))
        what = f"{len(among)} files are named as masks of the images beside them: {images[name].name}"
        fix = f"Move images with masks, such as {images[image].name}, to train/images and the masks to train/masks."
        mistakes.append(UserError(what, place.images, fix))
    return paired({name: image for name, image in images.items() if name not in among}, {}, mistakes)
