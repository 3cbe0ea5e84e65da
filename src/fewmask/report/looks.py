"""The features of a run as colors, for the page: the pictures that the run looked at, and its looks at them."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.report.entries import Entry
from fewmask.report.pictures import class_uri, photo_uri, pixels_uri
from fewmask.run.features import KeptLook, read_looked_at, read_looks

_SIDE = 240  # pixels of the longer side of a picture
_MOST = 4  # looks: the first, the last, and two between


class LookColumn(NamedTuple):
    """A look: its title, the distances of the features, and the pictures."""

    title: str
    intra: float
    inter: float
    ratio: float
    uris: list[str]


class Looks(NamedTuple):
    """The split that the pictures come from, the pictures and their truth, and the looks in order."""

    split: str
    images: list[str]
    truths: list[str]
    columns: list[LookColumn]


def looks_of(entry: Entry, classes: Classes) -> Looks | None:
    """The looks of a run; None if it took none. Raises UserError if a file is damaged."""
    seen, kept = read_looked_at(entry.run), read_looks(entry.run)
    if seen is None or not kept:
        return None
    images, truths = [], []
    for picture in seen.pictures:
        assert picture.labels is not None
        photo = Image.fromarray(picture.image.permute(1, 2, 0).numpy())
        photo.thumbnail((_SIDE, _SIDE))
        images.append(photo_uri(photo))
        labels = Image.fromarray(picture.labels.numpy()).resize(photo.size, Image.Resampling.NEAREST)
        truths.append(class_uri(np.asarray(labels), classes))
    return Looks(seen.split, images, truths, [_column(look) for look in _between(kept)])


def _column(kept: KeptLook) -> LookColumn:
    moment, (colors, distances) = kept
    title = f"after {moment.stage}, step {moment.step}" if moment.step else "before training"
    return LookColumn(
        title, distances.intra, distances.inter, distances.ratio, [pixels_uri(found.numpy()) for found in colors]
    )


def _between(looks: list[KeptLook]) -> list[KeptLook]:
    if len(looks) <= _MOST:
        return looks
    return [looks[round(place * (len(looks) - 1) / (_MOST - 1))] for place in range(_MOST)]
