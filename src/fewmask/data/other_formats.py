"""Recognizes labels that are no masks, such as polygons in a JSON file, and names the command that converts them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fewmask.data.arrangement import Place
from fewmask.errors import UserError, in_command

_LARGEST_LOOK = 200_000_000  # bytes; a larger file is known by its name alone


def masks_in_another_format(root: Path, place: Place) -> list[UserError]:
    """The mistake of a data set whose labels are polygons, boxes or arrays, at most one; empty if there are none."""
    convert = f"fewmask convert {in_command(root)} --out {in_command(root.name + '_converted')}"
    for path in label_files(root, place):
        where = path.relative_to(root).as_posix()
        if path.suffix == ".json" and is_coco(path):
            return [UserError(f"the labels are polygons of COCO, in {where}", root, f"Make masks of them: {convert}")]
        if path.suffix == ".txt" and _is_yolo(path):
            return [
                UserError(f"the labels are text of YOLO, such as {where}", root, f"Make masks of polygons: {convert}")
            ]
        if path.suffix == ".xml":
            fix = "Export masks: XML holds boxes, from which no mask can be made."
            return [UserError(f"the labels are XML files, such as {where}", root, fix)]
        if path.suffix == ".npy":
            return [UserError(f"the labels are arrays, such as {where}", root, "Save each as PNG, a value per class.")]
    return []


def label_files(root: Path, place: Place) -> Iterator[Path]:
    """Files that may hold labels: beside the images, in the folder of the masks, or at the top."""
    folders = [place.images, place.images.parent, place.masks, root]
    inside = [path for path in folders if path is not None and path.is_dir() and path.is_relative_to(root)]
    for folder in dict.fromkeys(inside):
        for suffix in (".json", ".txt", ".xml", ".npy"):
            yield from sorted(path for path in folder.rglob(f"*{suffix}") if not path.name.startswith("."))[:50]


def is_coco(path: Path) -> bool:
    """Whether a JSON file is one of COCO's form."""
    if path.stat().st_size > _LARGEST_LOOK:
        return "coco" in path.name.lower() or path.name.startswith("instances")
    content = read_json(path)
    keys = {"images", "annotations", "categories"}
    return (
        "coco" in path.name.lower()
        or path.name.startswith("instances")
        or (isinstance(content, dict) and keys <= set(content))
    )


def read_json(path: Path) -> Any:
    """The content of a JSON file; None if it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def _is_yolo(path: Path) -> bool:
    """Whether the first line is a class and numbers in [0, 1]: a box of four, or a polygon of more."""
    try:
        words = path.read_text(encoding="utf-8").partition("\n")[0].split()
        numbers = [float(word) for word in words]
    except (OSError, ValueError):
        return False
    return len(numbers) >= 5 and numbers[0] == int(numbers[0]) and all(0 <= number <= 1 for number in numbers[1:])
