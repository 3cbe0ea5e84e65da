"""Makes masks of polygons: those of a COCO file, and those of the text files of YOLO."""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from fewmask.data.classes import Classes
from fewmask.data.convert.draw import Piece, drawn
from fewmask.data.convert.labeled import LabeledImage
from fewmask.data.images import read_size
from fewmask.data.other_formats import read_json
from fewmask.errors import UserError

_EXPORT = "Export it again."


def coco_classes(paths: Sequence[Path], with_background: bool) -> Classes:
    """Every category of which there is an annotation, after the background if it is asked for."""
    names: dict[str, None] = {}
    for path in paths:
        names |= dict.fromkeys(_names(_read(path), path).values())
    others = [name for name in names if name.casefold() != "background"]
    return Classes(names=("background", *others) if with_background else tuple(names))


def of_coco(
    path: Path, images: Mapping[str, Sequence[Path]], folders: Sequence[Path], classes: Classes
) -> list[LabeledImage]:
    """Every image of a COCO file with its mask; an image without an annotation has none.

    Args:
        path: the JSON file.
        images: all images of the data set by their file name; several folders may hold the same name.
        folders: where an image may be if it is not beside the file: the folder of its split if any, then the data set.
        classes: hold the names of the categories.

    Raises:
        UserError: the file is no COCO file, names an image that is not there or may be any of several, or a category
            that is no class.
    """
    content = _read(path)
    names = _names(content, path)
    categories = {str(one.get("name")).strip().casefold() for one in content["categories"]}
    named = frozenset(label for label, name in enumerate(classes.names) if name.casefold() in categories)
    of_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        of_image[annotation.get("image_id")].append(annotation)
    found = []
    for entry in content["images"]:
        image = _image_of(Path(str(entry.get("file_name"))), path, images, folders)
        height, width = read_size(image)
        if (entry.get("height", height), entry.get("width", width)) != (height, width):
            raise UserError(f"the image {image.name} is not of the size that the file says", path, _EXPORT)
        pieces = [
            Piece(_label(names.get(one.get("category_id")), path, classes), _area(one, height, width, path))
            for one in of_image.get(entry.get("id"), [])
        ]
        labels = drawn((height, width), pieces) if pieces else None
        found.append(LabeledImage(image.stem, image, labels, named))
    if not found:
        raise UserError("the file lists no images", path, _EXPORT)
    return found


def of_yolo(images: Mapping[str, Path], texts: Mapping[str, Path], classes: Classes) -> list[LabeledImage]:
    """Every image with the mask of its text file, whose lines are a class and the corners of a polygon in [0, 1].

    Class n of the file is class n of the data set, or class n + 1 if the first class is the background.
    """
    first = 1 if classes.background == 0 else 0
    named = frozenset(range(len(classes)))
    return [
        LabeledImage(name, image, _of_text(image, texts.get(name), classes, first), named)
        for name, image in images.items()
    ]


def _of_text(image: Path, text: Path | None, classes: Classes, first: int) -> Any:
    if text is None:
        return None
    height, width = read_size(image)
    pieces = []
    try:
        lines = text.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError("the file is not text in UTF-8", text, "Save it as UTF-8, or export it again.") from None
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) == 5:
            fix = "No mask can be made of a box: export polygons."
            raise UserError(f"line {number} is a box", text, fix)
        try:
            label, corners = int(words[0]) + first, np.array(words[1:], dtype=float).reshape(-1, 2)
        except (ValueError, IndexError):
            raise UserError(f"line {number} is no class with corners", text, _EXPORT) from None
        if not 0 <= label < len(classes) or len(corners) < 3:
            raise UserError(f"line {number} names class {words[0]}, or has too few corners", text, _EXPORT)
        pieces.append(Piece(label, _pixels([(corners * (width, height)).ravel().tolist()], height, width)))
    return drawn((height, width), pieces)


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    keys = ("images", "annotations", "categories")
    is_coco = isinstance(content, dict) and all(isinstance(content.get(key), list) for key in keys)
    if not is_coco or not all(isinstance(one, dict) for key in keys for one in content[key]):
        raise UserError("the file has no lists of images, annotations and categories", path, _EXPORT)
    return dict(content)


def _names(content: Mapping[str, Any], path: Path) -> dict[Any, str]:
    """The name of every category of which there is an annotation, by its number."""
    used = {annotation.get("category_id") for annotation in content["annotations"]}
    names = {one.get("id"): one.get("name") for one in content["categories"] if one.get("id") in used}
    for number, name in names.items():
        if name is None or not str(name).strip():
            raise UserError(f"the category {number} has no name", path, "Give it a `name`.")
    return {number: str(name).strip() for number, name in names.items()}


def _image_of(file: Path, path: Path, images: Mapping[str, Sequence[Path]], folders: Sequence[Path]) -> Path:
    """The image at this place beside a COCO file or in one of the folders; else the only one that may be meant."""
    known = images.get(file.name, ())
    if not known:
        raise UserError(f"the image {file} is not in the data set", path, "Put it beside the others.")
    for folder in (path.parent, *folders):
        if folder / file in known:
            return folder / file
    at_end = [image for image in known if image.parts[-len(file.parts) :] == file.parts]
    for some in (*([image for image in at_end if image.is_relative_to(folder)] for folder in folders), known):
        if len(some) == 1:
            return some[0]
    shown = " or ".join(image.relative_to(folders[-1]).as_posix() for image in known[:3])
    what = f"the image {file} may be any of {len(known)}, such as {shown}"
    raise UserError(what, path, "Write the folder into its `file_name`, or put this file beside its images.")


def _label(name: str | None, path: Path, classes: Classes) -> int:
    by_name = {known.casefold(): label for label, known in enumerate(classes.names)}
    if name is None or name.casefold() not in by_name:
        fix = f"Add it to `names` in dataset.yaml, which are {', '.join(classes.names)}, or remove that file."
        raise UserError(f"the category {name} is no class", path, fix)
    return by_name[name.casefold()]


def _area(annotation: dict[str, Any], height: int, width: int, path: Path) -> NDArray[np.bool_]:
    """The pixels of an annotation: polygons, or run lengths as numbers or as text."""
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, dict) and list(segmentation["size"]) != [height, width]:
            raise ValueError
        return _pixels(segmentation, height, width)
    except Exception:  # the library raises nearly anything for a wrong segmentation
        what = f"annotation {annotation.get('id')} has no polygons or run lengths of this image"
        raise UserError(what, path, "Export segmentations, not boxes alone.") from None


def _pixels(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    is_encoded = isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), str | bytes)
    encoded = segmentation if is_encoded else coco_mask.frPyObjects(segmentation, height, width)
    with warnings.catch_warnings():  # the library makes arrays in a way that numpy warns of
        warnings.simplefilter("ignore", DeprecationWarning)
        area: NDArray[np.bool_] = (
            coco_mask.decode(coco_mask.merge(encoded) if isinstance(encoded, list) else encoded) > 0
        )
    return area
