"""Names the files in a data set that are not read."""

import os
from collections.abc import Iterator
from pathlib import Path

from fewmask.data.arrangement import find_places
from fewmask.data.doctor.problem import Problem, relative_to
from fewmask.data.folder import Folder
from fewmask.data.sample import IMAGE_SUFFIXES, JPEG_SUFFIXES, MASK_SUFFIXES

SYSTEM_FILES = {"thumbs.db", "desktop.ini"}  # files of Windows; those of other systems start with a dot


def left_out(folder: Folder) -> Iterator[Problem]:
    for sample in folder.left_out:
        assert sample.mask is not None
        text = "the mask is not of the size of its image, and both are left out"
        fix = f"Nothing needs to be done: {folder.layout} is known for a few such."
        yield Problem("note", relative_to(folder.root, sample.mask), text, fix)


def unused_files(root: Path) -> Iterator[Problem]:
    """Files in the folders of images and masks that are neither, such as masks in a format that is not read."""
    places = find_places(root, [])
    for folder in dict.fromkeys(folder for place in places.values() for folder in place if folder is not None):
        is_masks = folder not in {place.images for place in places.values()}
        suffixes = MASK_SUFFIXES | JPEG_SUFFIXES if is_masks else IMAGE_SUFFIXES
        readable = os.access(folder, os.R_OK)  # the survey has named other folders
        names = sorted(path.name for path in folder.iterdir() if not path.is_dir()) if readable else []
        kept = [name for name in names if not name.startswith(".") and name.lower() not in SYSTEM_FILES]
        unused = [name for name in kept if Path(name).suffix.lower() not in suffixes]
        if unused:
            more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
            text = f"not read: {', '.join(unused[:3])}{more}"
            fix = "Images may be png, jpg, bmp, tif or webp, masks png, bmp, tif or gif."
            yield Problem("warning" if is_masks else "note", relative_to(root, folder), text, fix)
