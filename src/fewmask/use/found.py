"""Which images are meant by a folder, a file, a pattern, or a list, and under which names their results are written."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fewmask.data.arrangement import mask_folders
from fewmask.data.lists import list_text
from fewmask.data.sample import IMAGE_SUFFIXES
from fewmask.errors import UserError

_MASKS_BESIDE = {
    "images": "masks",
    "JPEGImages": "Segmentation",
    "leftImg8bit": "gt",
    "701_StillsRaw_full": "LabeledApproved",
}
"""The start of the names of folders of masks in public datasets, by the name of the folder of images beside them."""
OTHER_SUFFIXES = {".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".ppm", ".svs", ".ndpi", ".scn", ".bif"}
"""Suffixes that no dataset may hold. Such files are predicted or, if nothing reads the format, named at the end."""


class Found(NamedTuple):
    """An image file, and the path of its results below a folder of results, without suffix."""

    file: Path
    stem: Path

    @property
    def root(self) -> Path:
        """The folder from which the path of the results is counted; links in it are followed."""
        return Path(os.path.abspath(self.file)).parents[len(self.stem.parts) - 1].resolve()  # noqa: PTH100


def find_images(given: str, left_out: Iterable[Path]) -> list[Found]:
    """The images of a folder at any depth, a file, a pattern such as `photos/*.jpg`, or a .txt list, in order.

    In a folder, hidden files and folders with the name of a folder of masks are left out, so a whole dataset may be
    given. An HEIC is left out if a JPEG of the same name lies beside it, because phones write both. Names of results
    keep the folders below the folder that is given, or below the deepest one that all files of a pattern or list share.

    Args:
        given: what a person wrote.
        left_out: folders whose files are no images to predict, such as earlier results.

    Raises:
        UserError: there is nothing, or two images would have results of the same name.
    """
    path = Path(given)
    if _exists(path, given):
        if path.is_dir():
            found, root = _in_folder(path, left_out), path
            if not found:
                known = " ".join(sorted(IMAGE_SUFFIXES))
                raise UserError("there are no images", path, f"Known are {known}; folders below are searched too.")
        elif path.suffix.lower() == ".txt":
            found = _listed(path)
            root = _common(found)
        else:
            found, root = [path], path.parent
    else:
        names = glob.glob(given, recursive=True) if glob.has_magic(given) else []  # noqa: PTH207 - keeps `given` as it is
        found = sorted(Path(name) for name in names if not Path(name).is_dir() and _is_image(Path(name)))
        if not found:
            fix = "Give an image, a folder of images, a pattern in quotes, or a .txt file with one image a line."
            raise UserError("there is no such file or folder", given, fix)
        root = _common(found)
    images = [Found(file, _below(file, root).with_suffix("")) for file in found]
    _refuse_clashes(images)
    return images


def _exists(path: Path, given: str) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"this is no path ({reason})", given[:80], "Give an image or a folder of images.") from None


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES | OTHER_SUFFIXES


def _in_folder(path: Path, left_out: Iterable[Path]) -> list[Path]:
    written = {folder.resolve() for folder in left_out}
    found, seen = [], {path.resolve()}
    for folder, folders, files in os.walk(path, followlinks=True):
        here = Path(folder)
        masks = tuple(masks for images, masks in _MASKS_BESIDE.items() if images in folders)
        shown = {name for name in folders if not name.startswith((".", *masks))} - mask_folders(folders)
        below = {name: (here / name).resolve() for name in sorted(shown)}
        folders[:] = [name for name, place in below.items() if place not in seen | written]
        seen |= set(below.values())  # a link may lead back up
        paths = [here / name for name in files if not name.startswith(".") and _is_image(Path(name))]
        converted = {path.stem for path in paths if path.suffix.lower() in IMAGE_SUFFIXES}
        found += [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES or path.stem not in converted]
    return sorted(found)


def _listed(path: Path) -> list[Path]:
    """The files that a list names, one a line, as they are or from the folder of the list."""
    lines = [line for line in list_text(path).split("\n") if line.strip() and not line.startswith("#")]
    if not lines:
        raise UserError("the list of images is empty", path, "Write one file a line.")
    found = []
    for line in lines:
        file = Path(line.rstrip("\r"))
        found.append(file if file.is_absolute() or file.exists() else path.parent / file)
    return list(dict.fromkeys(found))


def _common(files: list[Path]) -> Path:
    folders = {os.path.abspath(file.parent) for file in files}  # noqa: PTH100 - resolve() would follow links
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:
        raise UserError("the images lie on several drives", fix="Predict those of each drive alone.") from None


def _below(file: Path, root: Path) -> Path:
    """The path of the file from `root`; it never leads out of it."""
    absolute = Path(os.path.abspath(file))  # noqa: PTH100 - resolve() would follow links
    return absolute.relative_to(os.path.abspath(root))  # noqa: PTH100


def _refuse_clashes(images: list[Found]) -> None:
    seen: dict[Path, Path] = {}
    for file, stem in images:
        if stem in seen:
            what = f"{seen[stem].name} and {file.name} would both become {stem}.png"
            raise UserError(what, file.parent, "Rename one of them.")
        seen[stem] = file
