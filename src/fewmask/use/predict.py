"""Writes predictions as files under the names of the images: index mask with palette, overlay, and confidence."""

import errno
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.images import read_image
from fewmask.data.sample import IMAGE_SUFFIXES
from fewmask.errors import UserError
from fewmask.run.atomic import write_bytes
from fewmask.use.evaluate import Tick, no_tick
from fewmask.use.model import Model, Prediction

ByteArray = NDArray[np.uint8]

_KINDS = ("masks", "overlays", "confidence")
_OVERLAY_SHARE = 0.5
_MASKS_BESIDE = {"images": "masks", "JPEGImages": "Segmentation"}
"""The start of the names of folders of masks, by the name of the folder of images beside them."""
_NAMED = 5  # number of files that are named in an error
_OTHER_PICTURES = {".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2"}
"""Suffixes that no dataset may hold. Such files are predicted here or, if Pillow lacks the format, named at the end."""


def find_images(path: Path, out: Path) -> list[Path]:
    """The image files of a folder, at any depth, in order; or the file itself.

    Hidden files, files in `out`, and the masks beside `images` or `JPEGImages` are left out, so a whole dataset may be
    given. An HEIC is left out if a JPEG of the same name lies beside it, because phones write both.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise UserError("there is no such file or folder", path, "Give an image or a folder of images.")
    written = {(out / kind).resolve() for kind in _KINDS}
    found, seen = [], {path.resolve()}
    for folder, folders, files in os.walk(path, followlinks=True):
        here = Path(folder)
        left_out = tuple(masks for images, masks in _MASKS_BESIDE.items() if images in folders)
        folders[:] = [
            name
            for name in sorted(folders)
            if not name.startswith((".", *left_out)) and (here / name).resolve() not in seen
        ]
        seen |= {(here / name).resolve() for name in folders}  # a link may lead back up
        paths = [here / name for name in files if not name.startswith(".")]
        images = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
        converted = {path.stem for path in images}
        images += [path for path in paths if path.suffix.lower() in _OTHER_PICTURES and path.stem not in converted]
        found += [image for image in images if written.isdisjoint(image.resolve().parents)]
    found.sort()
    if not found:
        raise UserError("there are no images", path, f"Known are {' '.join(sorted(IMAGE_SUFFIXES))}.")
    return found


def predict_files(model: Model, images: Path, out: Path, force: bool = False, tick: Tick = no_tick) -> int:
    """Writes out/masks/NAME.png, out/overlays/NAME.png and out/confidence/NAME.png; returns the number of images.

    Masks hold class positions with the classes' palette. Confidence is 0..255 for 0..1. Names and folders are kept.

    Raises:
        UserError: an output exists already and `force` is not set, or two images would share a name; in both cases
            nothing is written. Also if some images cannot be read; in this case all others are written first.
    """
    files = find_images(images, out)
    root = images if images.is_dir() else images.parent
    stems = [file.relative_to(root).with_suffix("") for file in files]
    _refuse_clashes(files, stems)
    targets = [[out / kind / f"{stem}.png" for kind in _KINDS] for stem in stems]
    existing = [target for group in targets for target in group if target.exists()]
    if existing and not force:
        what = f"it and {len(existing) - 1} more files exist" if len(existing) > 1 else "it exists"
        raise UserError(f"{what} already", existing[0], "Choose another --out, or add --force.")
    unread: list[UserError] = []
    for file, group in zip(files, targets, strict=True):
        tick(len(files))
        try:
            pixels = read_image(file).permute(1, 2, 0).numpy()
        except UserError as mistake:  # named at the end, after all other images
            unread.append(mistake)
            continue
        prediction = model.predict_one(pixels)
        pictures = (
            mask_picture(prediction, model.classes),
            overlay_picture(pixels, prediction, model.classes),
            Image.fromarray(np.round(prediction.confidence * 255).astype(np.uint8)),
        )
        for target, picture in zip(group, pictures, strict=True):
            _save(picture, target)
    if unread:
        first, others = unread[0], len(files) - len(unread)
        more = f"; {len(unread)} of {len(files)} images cannot be read" if len(files) > 1 else ""
        if len(unread) > 1:
            names = ", ".join(Path(mistake.where).name for mistake in unread[1:_NAMED])
            more += f" ({names}{', ...' if len(unread) > _NAMED else ''} too)"
        if others:
            more += f", the other {others} are done"
        raise UserError(first.what + more, first.where, first.fix)
    return len(files)


def mask_picture(prediction: Prediction, classes: Classes) -> Image.Image:
    """An index PNG whose palette holds the colors of the classes.

    The palette is filled up to 256 entries, because Pillow saves a shorter one at 1, 2 or 4 bits a pixel.
    """
    picture = Image.fromarray(prediction.labels).convert("P")
    palette = [channel for color in classes.colors for channel in color]
    picture.putpalette(palette + [0] * (768 - len(palette)))
    return picture


def overlay_picture(pixels: ByteArray, prediction: Prediction, classes: Classes) -> Image.Image:
    """The image with the colors of the predicted classes over it."""
    colors = np.asarray(classes.colors, np.float32)[prediction.labels]
    mixed = (1 - _OVERLAY_SHARE) * pixels + _OVERLAY_SHARE * colors
    return Image.fromarray(np.round(mixed).astype(np.uint8))


def _refuse_clashes(files: Sequence[Path], stems: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for file, stem in zip(files, stems, strict=True):
        if stem in seen:
            raise UserError(
                f"{seen[stem].name} and {file.name} would both become {stem}.png", file.parent, "Rename one of them."
            )
        seen[stem] = file


def _save(picture: Image.Image, target: Path) -> None:
    content = io.BytesIO()
    picture.save(content, format="PNG")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, content.getvalue())
    except OSError as error:
        raise UserError(
            f"cannot write it ({error.strerror})",
            target,
            "Free some space." if error.errno == errno.ENOSPC else "Choose another --out.",
        ) from None
