"""PASCAL VOC 2012: 21 classes, 1464 train and 1449 val images. With the masks of SBD, train has 10582 images.

The PASCAL Visual Object Classes Challenge, IJCV 2015, http://host.robots.ox.ac.uk/pascal/VOC/voc2012
Semantic Contours from Inverse Detectors (SBD), ICCV 2011, http://home.bharathh.info/pubs/codes/SBD/download.html
"""

from collections.abc import Mapping
from pathlib import Path

from fewmask.data.classes import CLASS_FILES, Classes
from fewmask.data.layouts.layout import Layout
from fewmask.data.lists import list_text
from fewmask.data.sample import IMAGE_SUFFIXES, MASK_SUFFIXES, Folder, Sample, files_by_stem, paired
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
_TRAIN_LIST, _VAL_LIST, _TEST_LIST = (f"ImageSets/Segmentation/{split}.txt" for split in ("train", "val", "test"))
_Files = Mapping[str, Path]


def _read(root: Path, mistakes: list[UserError]) -> Folder:
    """The masks of SBD may lie in the folder of the masks of VOC or in their own.

    Where both folders have a mask, the mask of VOC counts, because it was drawn with more care.
    """
    images = files_by_stem(root / "JPEGImages", IMAGE_SUFFIXES, mistakes)
    added = _masks_of_sbd(root / "SegmentationClassAug", mistakes)
    masks = added | files_by_stem(root / "SegmentationClass", MASK_SUFFIXES, mistakes)
    has_own_classes = any((root / file).is_file() for file in CLASS_FILES)
    return (_own if has_own_classes else _published)(root, images, masks, mistakes)


def _published(root: Path, images: _Files, masks: _Files, mistakes: list[UserError]) -> Folder:
    """SBD adds every mask outside val to train: these are the 10582 images that others list as trainaug.

    VOC 2012 itself has no mask outside train and val. The images of a list of test are test if they have masks, as in
    VOC 2007. The other images (detection, action) are not used, because images of test may be among them.
    """

    def samples(split: str, names: set[str]) -> tuple[Sample, ...]:
        _check_listed(root, split, names, "image", images, VOC.guide, mistakes)
        _check_listed(root, split, names, "mask", masks, VOC.guide, mistakes)
        return tuple(Sample(name, images[name], masks[name]) for name in sorted(names & set(images) & set(masks)))

    in_train, in_val, in_test = _lists(root)
    outside = set(masks) - in_val - in_test
    train, val = samples("train", in_train | outside), samples("val", in_val)
    test = samples("test", in_test) if in_test & set(masks) else ()
    notes = () if outside - in_train else (UserError("train is without the masks of SBD", root, _SBD),)
    return Folder(root, Classes(names=_NAMES, colors=_COLORS), train, (), val, test, notes=notes)


def _own(root: Path, images: _Files, masks: _Files, mistakes: list[UserError]) -> Folder:
    """Images of one's own are train outside the lists of val and test, and unlabeled without a mask."""
    in_train, in_val, in_test = _lists(root)
    for split, names in (("train", in_train), ("val", in_val), ("test", in_test)):
        _check_listed(root, split, names, "image", images, "Correct the list, or add the images.", mistakes)
    samples = paired(images, masks, mistakes)
    train = tuple(sample for sample in samples if sample.name not in in_val | in_test)
    val, test = (tuple(sample for sample in samples if sample.name in names) for names in (in_val, in_test))
    return Folder(root, Classes(names=_NAMES, colors=_COLORS), train, (), val, test)


def _lists(root: Path) -> tuple[set[str], set[str], set[str]]:
    """The names of train, val and test; the list of test may be absent."""
    texts = [list_text(root / path) for path in (_TRAIN_LIST, _VAL_LIST)]
    texts.append(list_text(root / _TEST_LIST) if (root / _TEST_LIST).exists() else "")
    train, val, test = ({line.strip() for line in text.split("\n")} - {""} for text in texts)
    return train, val, test


def _check_listed(
    root: Path, split: str, names: set[str], kind: str, files: _Files, fix: str, mistakes: list[UserError]
) -> None:
    """Adds the mistake of names in a list that have no file."""
    missing = sorted(names - set(files))
    if missing:
        what = f"{len(missing)} of {len(names)} {split} names have no {kind}: {', '.join(missing[:3])}"
        mistakes.append(UserError(what + (", ..." if len(missing) > 3 else ""), root, fix))


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
