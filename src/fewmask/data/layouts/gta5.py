"""GTA5: 24966 frames of a game with the label ids and colors of Cityscapes; every frame belongs to train.

Other authors publish a split (split.mat). For such a split, data.train_list and source.train_list take lists of names.

Playing for Data: Ground Truth from Computer Games, ECCV 2016, https://download.visinf.tu-darmstadt.de/data/from_games
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fewmask.data.classes import Classes
from fewmask.data.layouts.cityscapes import LABEL_IDS, TRAIN_IDS
from fewmask.data.layouts.layout import Layout
from fewmask.data.opening import regular_file
from fewmask.data.sample import Folder, Sample, files_by_stem, paired
from fewmask.errors import UserError

LABEL_COLORS = Classes(
    names=LABEL_IDS.names,
    colors=LABEL_IDS.colors,
    encoding="rgb",
    ignore_colors=(
        (0, 0, 0),  # unlabeled, own car, border
        (20, 20, 20),  # static
        (111, 74, 0),  # dynamic
        (81, 0, 81),  # ground
        (250, 170, 160),  # parking
        (230, 150, 140),  # rail track
        (180, 165, 180),  # guard rail
        (150, 100, 100),  # bridge
        (150, 120, 90),  # tunnel
        (0, 0, 90),  # caravan
        (0, 0, 110),  # trailer
    ),
)
"""The classes of labels that were saved again as RGB.

The published labels are palette files and are read by their ids. Ids tell a license plate, which is ignored, from the
car, which has the same color.
"""


_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CONVERTED = "_labelTrainIds"
"""The end of the names of masks that other projects write beside the published masks.

These masks are read where the published masks are missing.
"""


def _read(root: Path, mistakes: list[UserError]) -> Folder:
    images, labels = (files_by_stem(root / part, {".png"}, mistakes) for part in ("images", "labels"))
    masks = {name: mask for name, mask in labels.items() if not name.endswith(_CONVERTED)}
    are_converted = not masks
    if are_converted:
        masks = {name.removesuffix(_CONVERTED): mask for name, mask in labels.items()}
    samples = paired(images, masks, mistakes)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        has_one_size = dict(zip(samples, pool.map(_has_one_size, samples), strict=True))
    train, left_out = (tuple(sample for sample in samples if has_one_size[sample] == kept) for kept in (True, False))
    first = next((header for mask in masks.values() if (header := _header(mask))), b"")
    has_colors = first[25:] in (b"\x02", b"\x06")
    classes = TRAIN_IDS if are_converted else LABEL_COLORS if has_colors else LABEL_IDS
    return Folder(root, classes, train, (), (), (), left_out=left_out)


def _has_one_size(sample: Sample) -> bool:
    """Whether image and mask have the same size. A file that is not a PNG passes here and fails when it is decoded."""
    sizes = {_header(path)[16:24] for path in (sample.image, sample.mask) if path is not None}
    return len(sizes - {b""}) <= 1


def _header(path: Path) -> bytes:
    """The first bytes of a PNG; empty for any other file.

    Width and height are bytes 16 to 23, and the kind of pixels is byte 25 (2 and 6 are RGB).
    """
    try:
        with regular_file(path) as file:
            header = file.read(26)
    except OSError:  # for example, a folder or a pipe of this name
        return b""
    return header if header.startswith(_SIGNATURE) and len(header) == 26 else b""


GTA5 = Layout(
    "GTA5",
    signs=tuple(f"{part}/[0-9][0-9][0-9][0-9][0-9].png" for part in ("images", "labels")),
    parts=("images", "labels"),
    read=_read,
    guide="Unpack 01_images.zip to 10_images.zip and 01_labels.zip to 10_labels.zip of "
    "download.visinf.tu-darmstadt.de/data/from_games into this folder: images/00001.png, labels/00001.png.",
)
