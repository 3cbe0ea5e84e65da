"""Decoded images and masks at training size, kept in RAM when they fit."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as resizing

from fewmask.data.classes import Classes
from fewmask.data.folder import Sample
from fewmask.data.images import read_image, read_mask, read_size
from fewmask.errors import UserError
from fewmask.shapes import ByteImage, ByteLabel, UInt8

Resize = float | tuple[int, int] | None
"""A factor, a (height, width), or None for the size on disk."""


class Picture(NamedTuple):
    """An image and its labels at training size; labels is None for an unlabeled image."""

    image: ByteImage
    labels: ByteLabel | None


class PictureStore:
    """Pictures by index; the first access decodes, and where `cached` every later one costs nothing.

    Args:
        samples: images with or without masks; a mask that is not given cannot be reached.
        classes: how masks are encoded.
        resize: applied once, after decoding: images bilinear with antialiasing, labels nearest.
        cached: keep what was decoded.
    """

    def __init__(self, samples: Sequence[Sample], classes: Classes, resize: Resize, cached: bool) -> None:
        self._samples, self._classes, self._resize = tuple(samples), classes, resize
        self._cache: list[Picture | None] | None = [None] * len(samples) if cached else None

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Picture:
        if self._cache is None:
            return self._read(index)
        picture = self._cache[index]
        if picture is None:
            picture = self._cache[index] = self._read(index)
        return picture

    @property
    def cached(self) -> bool:
        """Whether pictures stay in RAM."""
        return self._cache is not None

    def fill(self) -> Iterator[Picture]:
        """Decodes every picture on all cores; only worth it with a cache."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            yield from pool.map(self.__getitem__, range(len(self)))

    def _read(self, index: int) -> Picture:
        sample = self._samples[index]
        image = read_image(sample.image)
        labels = None if sample.mask is None else read_mask(sample.mask, self._classes)
        if labels is not None and labels.shape != image.shape[1:]:
            raise UserError(
                f"the mask is {_size(labels)} but its image {sample.image.name} is {_size(image)} (width x height)",
                sample.mask,
                "Export the mask again at the size of the image.",
            )
        return Picture(
            resized_image(image, self._resize), None if labels is None else resized_labels(labels, self._resize)
        )


def resized_image(image: ByteImage, resize: Resize) -> UInt8[Tensor, "3 new_h new_w"]:
    """Bilinear with antialiasing."""
    size = target_size(image.shape[-2:], resize)
    if size == tuple(image.shape[-2:]):
        return image
    if size == (1, 1):  # which torch cannot do with antialiasing
        raise UserError("an image shrinks to a single pixel", "data.resize", "Take a larger one.")
    resized: Tensor = resizing.resize(image, list(size), InterpolationMode.BILINEAR, antialias=True)
    return resized


def resized_labels(labels: ByteLabel, resize: Resize) -> UInt8[Tensor, "new_h new_w"]:
    """Nearest, so that no class is made up on the way."""
    size = target_size(labels.shape, resize)
    if size == tuple(labels.shape):
        return labels
    resized: Tensor = resizing.resize(labels[None], list(size), InterpolationMode.NEAREST_EXACT)[0]
    return resized


def target_size(size: Sequence[int], resize: Resize) -> tuple[int, int]:
    """(height, width) after resizing, at least 1 x 1."""
    if isinstance(resize, tuple):
        return resize
    factor = 1.0 if resize is None else resize
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def training_sizes(images: Sequence[Path], resize: Resize) -> list[tuple[int, int]]:
    """(height, width) of every image at training size, from the file headers."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [target_size(size, resize) for size in pool.map(read_size, images)]


def fits_in_memory(sizes: Sequence[tuple[int, int]], share: float = 0.5) -> bool:
    """Whether pictures of these sizes (3 bytes of image and 1 of label a pixel) take at most `share` of free RAM."""
    needed = 4 * sum(height * width for height, width in sizes)
    return needed <= share * _free_bytes()


def _free_bytes() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 4 * 2**30  # not Linux: assume a small machine


def _size(tensor: Tensor) -> str:
    height, width = tensor.shape[-2:]
    return f"{width} x {height}"
