"""Cityscapes: 19 classes among 34 label ids, 2975 train and 500 val images; test is published without labels.

The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016, https://www.cityscapes-dataset.com
"""

from pathlib import Path

from fewmask.data.classes import Classes
from fewmask.data.layouts.layout import Layout
from fewmask.data.sample import Folder, Sample, paired
from fewmask.errors import UserError

_CLASSES = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
_IDS, _NAMES, _COLORS = zip(*_CLASSES, strict=True)
_OTHER_IDS = tuple({*range(35)} - {*_IDS})  # only GTA5 has 34, the license plate
LABEL_IDS = Classes(names=_NAMES, colors=_COLORS, values=_IDS, ignore=_OTHER_IDS)
TRAIN_IDS = Classes(names=_NAMES, colors=_COLORS)


def _read(root: Path, mistakes: list[UserError]) -> Folder:
    has_label_ids = any(root.glob("gtFine/train/*/[!.]*_gtFine_labelIds.png"))
    classes, ids = (LABEL_IDS, "labelIds") if has_label_ids else (TRAIN_IDS, "labelTrainIds")

    def samples(split: str, has_labels: bool = True) -> tuple[Sample, ...]:
        images = _files(root / "leftImg8bit" / split, "_leftImg8bit.png")
        masks = _files(root / "gtFine" / split, f"_gtFine_{ids}.png") if has_labels else {}
        return paired(images, masks, mistakes)

    unlabeled, test = samples("train_extra", has_labels=False), samples("test", has_labels=False)
    return Folder(root, classes, samples("train"), unlabeled, samples("val"), test, published_bare=("test",))


def _files(split: Path, ending: str) -> dict[str, Path]:
    """The files of all cities by name, e.g. aachen_000000_000019."""
    return {path.name.removesuffix(ending): path for path in sorted(split.glob(f"*/[!.]*{ending}"))}


CITYSCAPES = Layout(
    "Cityscapes",
    signs=("leftImg8bit", "gtFine"),
    parts=("leftImg8bit/train", "gtFine/train"),
    read=_read,
    guide="Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of www.cityscapes-dataset.com into this "
    "folder: leftImg8bit/train/CITY/*_leftImg8bit.png, gtFine/train/CITY/*_gtFine_labelIds.png, val and test likewise.",
)
