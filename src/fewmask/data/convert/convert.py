"""Finds in which form the labels of a folder are, and writes a data set with one mask an image beside it."""

import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from fewmask.data.arrangement import SPLIT_NAMES, SPLITS, Place, find_places, splits_of_cases
from fewmask.data.classes import CLASS_FILES, Classes, read_classes, write_classes
from fewmask.data.convert.labeled import LabeledImage
from fewmask.data.convert.many_masks import merged, merged_folders
from fewmask.data.convert.polygons import coco_classes, of_coco, of_yolo
from fewmask.data.convert.rest import Whole, with_rest
from fewmask.data.other_formats import is_coco, label_files
from fewmask.data.sample import IMAGE_SUFFIXES, files_below
from fewmask.errors import UserError


class Converted(NamedTuple):
    """What was written: the classes, the numbers of images and of masks, and a sentence on pixels without a label."""

    classes: Classes
    num_images: int
    num_masks: int
    told: str


def convert(root: Path, out: Path, tasks: Path | None = None, ignore_rest: bool = False) -> Converted:
    """Writes `out` as a data set with the images of `root` and one mask for each that has labels.

    Images are linked where the disk allows it, and copied elsewhere. Nothing in `root` is changed.

    Args:
        root: many masks an image, a COCO file, or text files of YOLO, with images in the usual folders.
        out: a folder that does not exist yet.
        tasks: the JSON export of Label Studio, for masks that are named by its tasks.
        ignore_rest: ignores pixels that no label covers; otherwise see `with_rest`.

    Raises:
        UserError: `out` exists, the labels are in no known form, or one of them is wrong.
    """
    if not root.is_dir():
        raise UserError("there is no such folder", root, "Give the folder that holds images and labels.")
    if out.exists():
        raise UserError("it exists already", out, "Choose another --out.")
    mistakes: list[UserError] = []
    places = find_places(root, mistakes)
    if mistakes:
        raise mistakes[0]
    classes, splits = _labeled_splits(root, places, tasks, ignore_rest)
    if "unlabeled" in places:
        images = files_below(places["unlabeled"].images, IMAGE_SUFFIXES, [])
        splits["unlabeled"] = [LabeledImage(name, image) for name, image in images.items()]
    return _write(out, with_rest(classes, splits, ignore_rest))


def _labeled_splits(
    root: Path, places: dict[str, Place], tasks: Path | None, ignore_rest: bool
) -> tuple[Classes, dict[str, list[LabeledImage]]]:
    scored = {split: place for split, place in places.items() if split != "unlabeled"}
    top = Place(root, root)
    files = [file for place in (*scored.values(), top) for file in label_files(root, place)]
    jsons = [file for file in dict.fromkeys(files) if file.suffix == ".json" and file != tasks and is_coco(file)]
    own = read_classes(root) if any((root / file).is_file() for file in CLASS_FILES) else None
    if jsons:
        classes = own or coco_classes(jsons, with_background=not ignore_rest)
        images: dict[str, list[Path]] = defaultdict(list)
        for image in files_below(root, IMAGE_SUFFIXES, []).values():
            images[image.name].append(image)
        splits: dict[str, list[LabeledImage]] = defaultdict(list)
        for path in jsons:
            split = _split_of(path, root)
            of_split = [scored[split].images] if split in scored else []
            splits[split] += of_coco(path, images, [*of_split, root], classes)
        _check_apart(splits)
        return classes, {split: _with_names_of_their_own(found) for split, found in splits.items()}
    classes = own or read_classes(root)
    cases = {split: folder for split, folder in splits_of_cases(root).items() if split not in scored}
    if not scored and not cases:
        raise UserError("there are no images in train/images", root, "Put them there, and the labels in train/masks.")
    splits = {split: _with_names_of_their_own(merged_folders(folder, classes)) for split, folder in cases.items()}
    texts = {split: _texts(place) for split, place in scored.items()}
    if any(texts.values()):
        return classes, splits | {
            split: of_yolo(files_below(place.images, IMAGE_SUFFIXES, []), texts[split], classes)
            for split, place in scored.items()
        }
    return classes, splits | {split: merged(place, classes, tasks) for split, place in scored.items()}


def _texts(place: Place) -> dict[str, Path]:
    folder = place.masks or place.images.parent / "labels"
    return files_below(folder, {".txt"}, []) if folder.is_dir() else {}


def _split_of(path: Path, root: Path) -> str:
    """The split whose name is a word in the name of a file or else of the nearest folder; train without one."""
    for part in reversed(path.relative_to(root).parts):
        words = set(re.split(r"[\W\d_]+", part.lower()))
        for split in ("train", "val", "test"):
            if words & set(SPLITS[split]):
                return split
    return "train"


def _check_apart(splits: dict[str, list[LabeledImage]]) -> None:
    """Raises UserError for an image in two splits: a run would be scored on what it learned from."""
    split_of: dict[Path, str] = {}
    for split, images in splits.items():
        for image in (one.image for one in images):
            if split_of.setdefault(image, split) != split:
                what = f"COCO files list the image for {split_of[image]} and for {split}"
                raise UserError(what, image, "Keep one of the files: trainval.json holds what train.json holds.")


def _with_names_of_their_own(images: list[LabeledImage]) -> list[LabeledImage]:
    """The images of a split; those of one name get the names of their folders too, so that none overwrites another.

    The folders are those below the one that holds all images of the split. A name must not begin with that of a split,
    because a folder of this name would be misplaced, and so the folder above may count too.
    """
    twice = next((image for image, count in Counter(one.image for one in images).items() if count > 1), None)
    if twice is not None:
        raise UserError("COCO files list the image twice for one split", twice, "Keep one of the entries, or files.")
    top = Path(os.path.commonpath([one.image.parent.absolute() for one in images]))
    below = [one.image.absolute().relative_to(top).with_suffix("") for one in images]
    if any(path.parts[0].lower() in SPLIT_NAMES for path in below):
        below = [top.name / path for path in below]
    counts = Counter(one.name for one in images)
    return [
        one if counts[one.name] == 1 else one._replace(name=path.as_posix())
        for one, path in zip(images, below, strict=True)
    ]


def _write(out: Path, data: Whole) -> Converted:
    """Writes under another name first, so that the folder is whole or absent."""
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    num_masks = 0
    try:
        write_classes(data.classes, part)
        for split, images in data.splits.items():
            for name, image, labels, _ in images:
                _link(image, part / split / "images" / f"{name}{image.suffix}")
                if labels is not None:
                    num_masks += 1
                    _save(labels, part / split / "masks" / f"{name}.png", data.classes)
        part.rename(out)
    except OSError as error:
        raise UserError(f"cannot write it ({error.strerror})", out, "Choose another --out.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Converted(data.classes, sum(map(len, data.splits.values())), num_masks, data.told)


def _link(image: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(image.resolve(), target)
    except FileExistsError:  # a copy would write through the link into the other original
        raise UserError(f"another image has the name {target.name} too", image, "Give it another name.") from None
    except OSError:
        shutil.copyfile(image, target)


def _save(labels: object, target: Path, classes: Classes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels).convert("P")  # type: ignore[arg-type]
    palette: Sequence[int] = [level for color in classes.colors for level in color]
    picture.putpalette([*palette, *[0] * (768 - len(palette))])
    picture.save(target)
