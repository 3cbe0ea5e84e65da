"""Public datasets in miniature: the layouts they are published in, with a picture or two."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (12, 40)
CITY = "aachen_000000_000019"


def save_picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    """Noise, other for every name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(list(path.name.encode()))
    Image.fromarray(generator.integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)


def save_mask(path: Path, values: list[int] | list[tuple[int, int, int]], palette: list[int] | None = None) -> None:
    """Columns of these values or colors, from the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = np.resize(np.array(values, dtype=np.uint8), (SIZE[1], *np.shape(values)[1:]))
    image = Image.fromarray(np.broadcast_to(row, (SIZE[0], *row.shape)).copy())
    if palette is not None:
        image.putpalette(palette)  # makes it a palette image
    image.save(path)


def save_city(root: Path, split: str, name: str, ids: list[int], kind: str = "labelIds") -> None:
    """An image of Cityscapes with all that is published beside it."""
    place = Path(split) / name.split("_")[0]
    save_picture(root / "leftImg8bit" / place / f"{name}_leftImg8bit.png")
    save_mask(root / "gtFine" / place / f"{name}_gtFine_{kind}.png", ids)
    for other in ("color.png", "instanceIds.png", "polygons.json"):
        (root / "gtFine" / place / f"{name}_gtFine_{other}").touch()


def make_cityscapes(root: Path) -> Path:
    """Two train images of two cities, one each of val, test and train_extra."""
    save_city(root, "train", CITY, [*range(34), 255])
    save_city(root, "train", "zurich_000001_000019", [7, 8])
    save_city(root, "val", "frankfurt_000000_000294", [26])
    save_city(root, "test", "berlin_000000_000019", [0])  # published with empty labels
    save_picture(root / "leftImg8bit/train_extra/bayreuth/bayreuth_000000_000001_leftImg8bit.png")
    return root


def make_voc(root: Path) -> Path:
    """One image each of train and val, and two in neither list."""
    for name in ("2007_000032", "2007_000033", "2008_000002", "2012_004331"):
        save_picture(root / "JPEGImages" / f"{name}.jpg")
    colors = list(np.random.default_rng(0).integers(0, 255, 768))
    for name in ("2007_000032", "2007_000033"):
        save_mask(root / "SegmentationClass" / f"{name}.png", [0, 1, 20, 255], palette=colors)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for split, text in (
        ("train", "2007_000032\n"),
        ("val", "2007_000033\n"),
        ("trainval", "2007_000032\n2007_000033\n"),
    ):
        (root / f"ImageSets/Segmentation/{split}.txt").write_text(text)
    return root


def make_gta5(root: Path) -> Path:
    """Three frames, of which one has a label of another size."""
    palette = [0] * 21 + [128, 64, 128, 244, 35, 232] + [0] * 741
    for name in ("00001", "00002", "15188"):
        save_picture(root / f"images/{name}.png", (11, 40) if name == "15188" else SIZE)
        save_mask(root / f"labels/{name}.png", [7, 8, 33, 0, 4, 34], palette)
    return root


def make_camvid(root: Path) -> Path:
    """One image of each split, as SegNet published it."""
    for split, name in (("train", "0001TP_006690"), ("val", "0016E5_07959"), ("test", "Seq05VD_f00000")):
        save_picture(root / split / f"{name}.png")
        save_mask(root / f"{split}annot" / f"{name}.png", list(range(12)))
        (root / f"{split}.txt").write_text(
            f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png\n"
        )
    return root


def make_camvid_original(root: Path) -> Path:
    """One image of each of SegNet's splits, with the original colors."""
    colors = [(128, 128, 128), (192, 0, 128), (128, 0, 192), (0, 0, 192), (64, 128, 64), (192, 0, 192), (0, 0, 0)]
    for name in ("0001TP_006690", "0016E5_07959", "Seq05VD_f00000"):
        save_picture(root / f"701_StillsRaw_full/{name}.png")
        save_mask(root / f"LabeledApproved_full/{name}_L.png", colors)
    return root


def make_ade20k(root: Path) -> Path:
    """One image each of train and val."""
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        save_picture(root / "images" / split / f"{name}.jpg")
        save_mask(root / "annotations" / split / f"{name}.png", [0, 1, 2, 150])
    (root / "objectInfo150.txt").touch()
    return root
