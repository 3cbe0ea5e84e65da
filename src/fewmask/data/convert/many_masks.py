"""Merges several masks of an image: one for each class, named in its file name, or one for each object."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from fewmask.data.arrangement import Place, cases_in
from fewmask.data.classes import Classes
from fewmask.data.convert.draw import Piece, area_in, drawn
from fewmask.data.convert.labeled import LabeledImage
from fewmask.data.images import read_size
from fewmask.data.other_formats import read_json
from fewmask.data.pairing import named_after_another, nearest_image, without_image
from fewmask.data.sample import IMAGE_SUFFIXES, MASK_SUFFIXES, files_below
from fewmask.errors import UserError

_TASK = re.compile(r"task-(\d+)-annotation-\d+-by-\d+-tag-(.*?)-\d+$")


def merged(place: Place, classes: Classes, tasks: Path | None = None) -> list[LabeledImage]:
    """Every image of a split with the mask that its masks make together; no mask without any.

    Args:
        place: the folders of the images and of the masks.
        classes: a class stands in the name of a mask; with two classes every mask without one is of the second.
        tasks: the JSON export of Label Studio, if the masks are named by its tasks.

    Raises:
        UserError: a mask names no class, belongs to no image, or cannot be read.
    """
    mistakes: list[UserError] = []
    images = files_below(place.images, IMAGE_SUFFIXES, mistakes)
    masks = {} if place.masks is None else files_below(place.masks, MASK_SUFFIXES, mistakes)
    if place.masks == place.images:
        masks = {name: path for name, path in masks.items() if named_after_another(name, images)}
        images = {name: path for name, path in images.items() if name not in masks}
    if mistakes:
        raise mistakes[0]
    of_tasks = {} if tasks is None else _images_of_tasks(tasks, images)
    of_image: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for name, path in masks.items():
        image, rest = _image_and_rest(name, images, of_tasks)
        if image is None:
            raise UserError("the mask has no image", path, "Let its name begin with that of its image, or remove it.")
        of_image[image].append((rest, path))
    return [_labeled(name, image, of_image.get(name, []), classes) for name, image in images.items()]


def merged_folders(split: Path, classes: Classes) -> list[LabeledImage]:
    """The same for folders that hold one image and its masks each."""
    found = []
    for case in cases_in(split):
        images = files_below(case.images, IMAGE_SUFFIXES, [])
        masks = {} if case.masks is None else files_below(case.masks, MASK_SUFFIXES, [])
        if len(images) != 1:
            what = f"the folder holds {len(images)} images, and expected is one"
            raise UserError(what, case.images, "Leave one image in it.")
        name, image = next(iter(images.items()))
        found.append(_labeled(name, image, list(masks.items()), classes))
    return found


def _labeled(name: str, image: Path, masks: list[tuple[str, Path]], classes: Classes) -> LabeledImage:
    if not masks:
        return LabeledImage(name, image)
    size = read_size(image)
    pieces = [Piece(_label_in(rest, path, classes), area_in(path, size)) for rest, path in masks]
    return LabeledImage(name, image, drawn(size, pieces), frozenset(piece.label for piece in pieces))


def _image_and_rest(name: str, images: Mapping[str, Path], of_tasks: Mapping[str, str]) -> tuple[str | None, str]:
    """The image of a mask, and what else its name says."""
    task = _TASK.search(name)
    if task is not None and of_tasks:
        return of_tasks.get(task[1]), task[2]
    folder = str(PurePosixPath(name).parent)
    if folder in images:
        return folder, PurePosixPath(name).name
    image = nearest_image(name, images)
    return image, "" if image is None else without_image(name, image)


def _label_in(rest: str, path: Path, classes: Classes) -> int:
    """The class that stands in the rest of the name of a mask."""
    words = f"_{_plain(rest)}_"
    found = [label for label, name in enumerate(classes.names) if f"_{_plain(name)}_" in words]
    if found:
        return max(found, key=lambda label: len(classes.names[label]))
    if len(classes) == 2:
        return 1
    fix = f"Let the name hold one of {', '.join(classes.names)}."
    if not _plain(rest):
        what = "the mask has the name of its image, which says no class"
        raise UserError(what, path, f"If it holds all classes, the data needs no conversion. Otherwise: {fix}")
    raise UserError("the name of the mask says no class", path, fix)


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "_", text.casefold()).strip("_")


def _images_of_tasks(path: Path, images: Mapping[str, Path]) -> dict[str, str]:
    """The image of each task number; an upload has a random beginning before the name of the image."""
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise UserError("the file is no list of tasks", path, "Export the project of Label Studio as JSON.")
    found = {}
    for task in tasks:
        values = task.get("data", {}).values() if isinstance(task, dict) and isinstance(task.get("data"), dict) else ()
        for value in values:
            stem = PurePosixPath(str(value)).stem
            name = next((name for name in (stem, stem.partition("-")[2]) if name in images), None)
            if name is not None:
                found[str(task.get("id"))] = name
    return found
