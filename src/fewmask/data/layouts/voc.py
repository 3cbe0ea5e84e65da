"""PASCAL VOC 2012: 21 classes, 1464 train and 1449 val images. With the masks of SBD, train has 10582 images.

The PASCAL Visual Object Classes Challenge, IJCV 2015, http://host.robots.ox.ac.uk/pascal/VOC/voc2012
Semantic Contours from Inverse Detectors (SBD), ICCV 2011, http://home.bharathh.info/pubs/codes/SBD/download.html
"""

from pathlib import Path

from fewmask.data.classes import Classes
from fewmask.data.layouts.layout import Layout
from fewmask.data.lists import list_text
from fewmask.data.sample import Folder, Sample, files_by_stem
from fewmask.errors import UserError

_CLASSES = (
    ("background", (0, 0, 0)),
    ("aeroplane", (128, 0, 0)),
    ("bicycle", (0, 128, 0)),
    ("bird", (128, 128, 0)),
    ("boat", (0, 0, 128)),
    ("bottle", (128, 0, 128)),
    ("bus", (0, 128, 128)),
    ("car", (128, 128, 128)),
    ("cat", (64, 0, 0)),
    ("chair", (192, 0, 0)),
    ("cow", (64, 128, 0)),
    ("diningtable", (192, 128, 0)),
    ("dog", (64, 0, 128)),
    ("horse", (192, 0, 128)),
    ("motorbike", (64, 128, 128)),
    ("person", (192, 128, 128)),
    ("pottedplant", (0, 64, 0)),
    ("sheep", (128, 64, 0)),
    ("sofa", (0, 192, 0)),
    ("train", (128, 192, 0)),
    ("tvmonitor", (0, 64, 128)),
)
_NAMES, _COLORS = zip(*_CLASSES, strict=True)
_SBD = (
    "For 10582 train images instead of 1464 put the masks of SBD, linked at "
    "github.com/DrSleep/tensorflow-deeplab-resnet, into VOC2012/SegmentationClassAug."
)
_TRAIN_LIST, _VAL_LIST = (f"ImageSets/Segmentation/{split}.txt" for split in ("train", "val"))


def _read(root: Path, mistakes: list[UserError]) -> Folder:
    """SBD adds every mask outside val to train: these are the 10582 images that others list as trainaug.

    VOC itself has no mask outside train and val, so the masks of SBD may lie in the folder of the masks of VOC or in
    their own. Where both folders have a mask, the mask of VOC counts, because it was drawn with more care. The other
    images (detection, action) are not used, because images of test may be among them.
    """
    images = files_by_stem(root / "JPEGImages", {".jpg"}, mistakes)
    added = _masks_of_sbd(root / "SegmentationClassAug", mistakes)
    masks = added | files_by_stem(root / "SegmentationClass", {".png"}, mistakes)

    def samples(split: str, names: set[str]) -> tuple[Sample, ...]:
        for kind, files in (("image", images), ("mask", masks)):
            missing = sorted(names - set(files))
            if missing:
                what = f"{len(missing)} of {len(names)} {split} names have no {kind}: {', '.join(missing[:3])}"
                mistakes.append(UserError(what + (", ..." if len(missing) > 3 else ""), root, VOC.guide))
        return tuple(Sample(name, images[name], masks[name]) for name in sorted(names & set(images) & set(masks)))

    train, val = (set(list_text(root / path).split()) for path in (_TRAIN_LIST, _VAL_LIST))
    classes = Classes(names=_NAMES, colors=_COLORS)
    notes = () if set(masks) - val - train else (UserError("train is without the masks of SBD", root, _SBD),)
    return Folder(root, classes, samples("train", train | set(masks) - val), (), samples("val", val), (), notes=notes)


def _masks_of_sbd(folder: Path, mistakes: list[UserError]) -> dict[str, Path]:
    """The masks in the folder, or in a folder of the same name inside it, because some tools unpack them there."""
    inner = folder / folder.name
    masks = files_by_stem(inner if inner.is_dir() else folder, {".png"}, mistakes)
    if folder.is_dir() and not masks:
        mistakes.append(UserError("the folder holds no mask", folder, _SBD))
    return masks


VOC = Layout(
    "PASCAL VOC",
    signs=("JPEGImages", "SegmentationClass", "SegmentationClassAug"),
    parts=("JPEGImages", "SegmentationClass*", _TRAIN_LIST, _VAL_LIST),
    read=_read,
    guide="Unpack VOCtrainval_11-May-2012.tar of host.robots.ox.ac.uk/pascal/VOC/voc2012 and give VOCdevkit/VOC2012: "
    "JPEGImages/*.jpg, SegmentationClass/*.png, ImageSets/Segmentation/{train,val}.txt. For the masks of SBD add "
    "SegmentationClassAug/*.png, linked at github.com/DrSleep/tensorflow-deeplab-resnet.",
)
