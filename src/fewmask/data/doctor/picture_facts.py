"""What the doctor keeps of an image: size, levels, a hash of its pixels, a thumbnail, and whether it looks drawn."""

from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.doctor.histogram import Counts

THUMBNAIL = 16  # pixels on each side
FLAT_RANGE = 32  # a picture whose levels span less than this shows next to nothing
_FEW_COLORS = 20
_MOST = 0.95  # so many of the pixels of a drawing have one of few colors
_DRAWN = 0.7  # so many of the pixels of a drawn object have the color of their neighbor
_MOST_ROWS = 256  # rows that are looked at, spread over the picture


class PictureFacts(NamedTuple):
    """An image without its pixels.

    Attributes:
        size: height and width of the upright picture.
        num_pictures: pages or frames in the file.
        levels: the smallest and the largest level of a channel.
        digest: a hash of the pixels; None for a flat picture, which may equal others by chance.
        thumbnail: [THUMBNAIL THUMBNAIL] gray levels; None for a flat picture.
        looks_drawn: whether it has few colors in flat areas, as a mask has.
    """

    size: tuple[int, int]
    num_pictures: int
    levels: tuple[int, int]
    digest: bytes | None
    thumbnail: NDArray[np.uint8] | None
    looks_drawn: bool


def picture_facts(pixels: NDArray[np.uint8], num_pictures: int = 1) -> PictureFacts:
    """The facts of a decoded picture [h w 3]."""
    levels = int(pixels.min()), int(pixels.max())
    digest, thumbnail = None, None
    if levels[1] - levels[0] >= FLAT_RANGE:
        content = blake2b(repr(pixels.shape).encode(), digest_size=16)
        content.update(np.ascontiguousarray(pixels).data)
        digest = content.digest()
        small = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, reducing_gap=2.0)
        thumbnail = np.asarray(small.convert("L"))
    return PictureFacts(pixels.shape[:2], num_pictures, levels, digest, thumbnail, looks_drawn(pixels))


def looks_drawn(pixels: NDArray[np.uint8]) -> bool:
    """Whether the picture [h w 3] looks like a mask: two or more colors, few in all, in flat areas."""
    rows = pixels[:: -(-len(pixels) // _MOST_ROWS)].astype(np.int32)
    codes = rows[..., 0] | rows[..., 1] << 8 | rows[..., 2] << 16
    is_same = codes[:, 1:] == codes[:, :-1]
    if codes.shape[1] < 2 or is_same.mean() < _DRAWN:
        return False
    starts = np.flatnonzero(np.concatenate(([True], np.diff(codes.ravel()) != 0)))
    found, place = np.unique(codes.ravel()[starts], return_inverse=True)
    counts: Counts = np.bincount(place, weights=np.diff(np.append(starts, codes.size))).astype(np.int64)
    if len(found) < 2 or np.sort(counts)[::-1][:_FEW_COLORS].sum() < _MOST * codes.size:
        return False
    objects = codes[:, :-1] != found[counts.argmax()]
    return bool(is_same[objects].mean() >= _DRAWN) if objects.any() else False
