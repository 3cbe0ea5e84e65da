"""Exports of annotation tools with the names of Pascal VOC: CVAT's `Segmentation mask 1.1`, LabelMe's `labelme2voc`.

CVAT, https://docs.cvat.ai/docs/dataset_management/formats/format-smask
LabelMe, https://github.com/wkentaro/labelme (examples/semantic_segmentation)
"""

import re
from pathlib import Path

from fewmask.data.classes import Classes
from fewmask.data.layouts.layout import Layout
from fewmask.data.lists import list_text
from fewmask.data.sample import IMAGE_SUFFIXES, Folder, Sample, files_by_stem, paired
from fewmask.errors import UserError, quoted


def _read_cvat(root: Path, mistakes: list[UserError]) -> Folder:
    """Subsets Validation and Test are val and test, all others are train; an image without a mask is unlabeled."""
    samples = _samples(root, root / "SegmentationClass", mistakes)
    subsets = {path.stem.lower(): path for path in (root / "ImageSets" / "Segmentation").glob("*.txt")}

    def listed(*subset_names: str) -> set[str]:
        texts = [list_text(subsets[name]) for name in subset_names if name in subsets]
        return {Path(line.strip()).name for text in texts for line in text.split("\n")}

    in_val, in_test = listed("validation", "val"), listed("test")
    train = tuple(sample for sample in samples if sample.name not in in_val | in_test)
    val, test = (tuple(sample for sample in samples if sample.name in names) for names in (in_val, in_test))
    return Folder(root, _classes_of_cvat(root / "labelmap.txt"), train, (), val, test)


def _classes_of_cvat(path: Path) -> Classes:
    """Reads the classes from lines `name:red,green,blue:parts:actions`."""
    lines = [line.strip() for line in list_text(path).split("\n")]
    names, colors = [], []
    for line in lines:
        if line and not line.startswith("#"):
            name, _, rest = line.partition(":")
            levels = rest.partition(":")[0].split(",")
            if len(levels) != 3 or not all(re.fullmatch(r"\s*\d{1,9}\s*", level) for level in levels):
                raise UserError(f"the line {quoted(line)} gives no color", path, "Write `name:red,green,blue::`.")
            names.append(name)
            colors.append(tuple(int(level) for level in levels))
    return _classes(path, {"names": names, "colors": colors, "encoding": "rgb"})


def _read_labelme(root: Path, mistakes: list[UserError]) -> Folder:
    """Every image is train; older versions of the script write the masks to SegmentationClassPNG."""
    older = root / "SegmentationClassPNG"
    samples = _samples(root, older if older.is_dir() else root / "SegmentationClass", mistakes)
    path = root / "class_names.txt"
    names = [line.strip() for line in list_text(path).split("\n") if line.strip() not in ("", "__ignore__")]
    return Folder(root, _classes(path, {"names": names}), samples, (), (), ())


def _classes(path: Path, fields: dict[str, object]) -> Classes:
    try:
        return Classes(**fields)
    except UserError as mistake:
        raise UserError(mistake.what, path, mistake.fix) from None
    except ValueError:
        raise UserError(
            "a name is empty or a color level above 255", path, "Export it again, or write a dataset.yaml."
        ) from None


def _samples(root: Path, masks: Path, mistakes: list[UserError]) -> tuple[Sample, ...]:
    images = files_by_stem(root / "JPEGImages", IMAGE_SUFFIXES, mistakes)
    return paired(images, files_by_stem(masks, {".png"}, mistakes), mistakes)


CVAT = Layout(
    "an export of CVAT",
    signs=("labelmap.txt",),
    parts=("labelmap.txt", "JPEGImages", "SegmentationClass"),
    read=_read_cvat,
    guide="Export the task as `Segmentation mask 1.1`, with `Save images`: JPEGImages, SegmentationClass/*.png, "
    "labelmap.txt.",
)
LABELME = Layout(
    "an export of LabelMe",
    signs=("class_names.txt",),
    parts=("class_names.txt", "JPEGImages", "SegmentationClass*"),
    read=_read_labelme,
    guide="Run labelme2voc.py of LabelMe's examples/semantic_segmentation and give its output: JPEGImages, "
    "SegmentationClass/*.png, class_names.txt.",
)
