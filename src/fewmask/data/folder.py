"""A dataset folder as lists of samples, from the names of its files alone.

DATA/ dataset.yaml or classes.txt
      train/images/NAME.jpg  train/masks/NAME.png    an image without a mask is unlabeled
      unlabeled/* (or unlabeled/images/*)            optional
      val/images val/masks  test/images test/masks   optional

A folder without dataset.yaml and classes.txt may be a public dataset as it is published: see `layouts`.
"""

from pathlib import Path

from fewmask.data.classes import CLASS_FILES, read_classes
from fewmask.data.layouts import LAYOUTS, Layout, layout_of
from fewmask.data.sample import (
    IMAGE_SUFFIXES,
    JPEG_SUFFIXES,
    MASK_SUFFIXES,
    UNKNOWN_CLASSES,
    Folder,
    Sample,
    files_by_stem,
    paired,
)
from fewmask.errors import UserError

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
        folder, mistakes = layout.survey(root)
        return folder, mistakes if below is None else [below]
    classes = UNKNOWN_CLASSES
    try:
        classes = read_classes(root)
    except UserError as mistake:
        mistakes.append(mistake if is_ours else _in_no_layout(root, mistake))
    train, val, test = (_read_split(root / split, mistakes) for split in ("train", "val", "test"))
    nested = root / "unlabeled" / "images"
    extra = files_by_stem(nested if nested.is_dir() else root / "unlabeled", IMAGE_SUFFIXES, mistakes)
    return Folder(root, classes, train, paired(extra, {}, mistakes), val, test), mistakes


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


def _guess(split: Path) -> str:
    """What to do about a split that may lie elsewhere, judged from the names of folders."""
    root = split.parent
    called = next((path.name for path in root.iterdir() if path.name.lower() == split.name and path != split), "")
    if called and not split.is_dir():
        return f"Call it {split.name}, not {called}."
    if (root / "images").is_dir():
        return f"Move {root.name}/images and {root.name}/masks into {root.name}/{split.name}."
    return ""


def _read_split(split: Path, mistakes: list[UserError]) -> tuple[Sample, ...]:
    if not (split / "images").is_dir():
        if split.name == "train" or split.is_dir():
            fix = f"Put images in {split.name}/images and their masks, of the same names, in {split.name}/masks."
            mistakes.append(UserError("there is no folder `images`", split, _guess(split) or fix))
        return ()
    images = files_by_stem(split / "images", IMAGE_SUFFIXES, mistakes)
    if not images and split.name == "train":  # in this case nothing is wrong with the masks
        fix = f"Put images there ({', '.join(sorted(IMAGE_SUFFIXES))}); deeper folders are not read."
        mistakes.append(UserError("the folder holds no image that can be read", split / "images", fix))
        return ()
    others = sorted(path.name for path in split.iterdir() if path.is_dir() and path.name[0] != ".")
    others.remove("images")
    if split.name == "train" and others and "masks" not in others:
        fix = f"Call it masks if it holds them: {', '.join(others)}."
        mistakes.append(UserError("there is no folder `masks`, but another beside `images`", split, fix))
    masks = files_by_stem(split / "masks", MASK_SUFFIXES | JPEG_SUFFIXES, mistakes)
    for name, mask in list(masks.items()):
        if mask.suffix.lower() in JPEG_SUFFIXES:
            del masks[name]
            fix = "Export it again as PNG; do not convert the JPEG."
            mistakes.append(UserError("the mask is a JPEG, and JPEG changes label values", mask, fix))
    return paired(images, masks, mistakes)
