"""Batches by step number: (seed, stage, position) alone decides on the images of a batch and their crops."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from fewmask.data.balance import Balance, corner_around
from fewmask.data.batch import Batch, Labeled, Unlabeled
from fewmask.data.store import Picture, Store
from fewmask.ops.draw import Purpose, seed_at
from fewmask.ops.imagenet import IMAGENET_MEAN
from fewmask.shapes import IGNORE

_LABELED, _UNLABELED, _SOURCE, _HELD_OUT = 0, 1, 2, 3  # the streams of draws
_MEAN_COLOR = torch.tensor([round(255 * mean) for mean in IMAGENET_MEAN], dtype=torch.uint8)  # about how SegNet pads


class Draws(NamedTuple):
    """What the batches of a stage depend on, besides the step."""

    seed: int
    stage: int
    crop: tuple[int, int]  # height, width
    num_labeled: int  # images of a batch on one rank, target and source together
    num_unlabeled: int
    rank: int = 0
    num_ranks: int = 1


class StepBatches(Dataset[Batch]):
    """Batch number `step` of a stage; every image is seen once before any image is seen again.

    With a `balance`, a share of the labeled crops is drawn for a class instead, but those of a source domain are not.
    With a store `held_out`, every batch also has one crop of it.

    With a source domain, half of the labeled images of a batch come from each domain. If their number is odd, the
    domains take turns with the larger half.
    """

    def __init__(
        self,
        labeled: Store,
        unlabeled: Store | None,
        draws: Draws,
        source: Store | None = None,
        balance: Balance | None = None,
        held_out: Store | None = None,
    ) -> None:
        self._labeled, self._unlabeled, self._draws, self._source = labeled, unlabeled, draws, source
        self._balance, self._held_out = balance, held_out

    def __getitem__(self, step: int) -> Batch:
        total = self._draws.num_labeled
        ends = [step * total, (step + 1) * total]  # number of labeled images before this step, and after it
        source_ends = [end // 2 if self._source else 0 for end in ends]
        images, labels, _ = self._stack(
            self._labeled, _LABELED, *(a - b for a, b in zip(ends, source_ends, strict=True))
        )
        if self._source:
            source_images, source_labels, _ = self._stack(self._source, _SOURCE, *source_ends)
            images, labels = torch.cat([images, source_images]), torch.cat([labels, source_labels])
        num_source = source_ends[1] - source_ends[0]
        held_out = (
            None if self._held_out is None else Labeled(*self._stack(self._held_out, _HELD_OUT, step, step + 1)[:2])
        )
        if self._unlabeled is None:
            return Batch(Labeled(images, labels), None, num_source, held_out)
        count = self._draws.num_unlabeled
        unlabeled_images, _, valid = self._stack(self._unlabeled, _UNLABELED, step * count, (step + 1) * count)
        return Batch(Labeled(images, labels), Unlabeled(unlabeled_images, valid), num_source, held_out)

    def _stack(self, store: Store, stream: int, begin: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """The pictures number begin..end-1 of one rank's stream, cropped: images, labels and valid pixels."""
        seed, stage, crop, *_, rank, num_ranks = self._draws
        first = begin * num_ranks + rank * (end - begin)
        crops = []
        for position in range(first, first + end - begin):
            epoch, place = divmod(position, len(store))
            index = _order(seed, stage, stream, epoch, len(store))[place]
            where = (seed, stage, stream, position)
            drawn = self._balance.draw(*where) if self._balance and stream == _LABELED else None
            picture = store.picture(int(index) if drawn is None else drawn[0])
            crops.append(_random_crop(picture, crop, seed_at(Purpose.CROP, *where), drawn and drawn[1]))
        images, labels, valid = zip(*crops, strict=True)
        return torch.stack(images), torch.stack(labels), torch.stack(valid)


def step_loader(batches: StepBatches, first: int, last: int, workers: int, pinned: bool) -> Iterator[Batch]:
    """The batches of the steps first..last-1 in order. `workers` processes read ahead; with 0, this process reads."""
    loader: DataLoader[Batch] = DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        pin_memory=pinned,
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


@lru_cache(maxsize=6)
def _order(seed: int, stage: int, stream: int, epoch: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng(seed_at(Purpose.ORDER, seed, stage, stream, epoch)).permutation(count)


def _random_crop(
    picture: Picture, crop: tuple[int, int], seed: int, label: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """A random window, which holds a pixel of the given class if the picture has one.

    A smaller image is padded right and below with the mean color, IGNORE and False (not valid).
    """
    corner = None if label is None or picture.labels is None else corner_around(label, picture.labels, crop, seed)
    top, left = corner or _random_corner(picture, crop, seed)
    window = (slice(top, top + crop[0]), slice(left, left + crop[1]))
    image = picture.image[:, *window]
    labels = (
        torch.full(image.shape[1:], IGNORE, dtype=torch.uint8) if picture.labels is None else picture.labels[window]
    )
    valid = torch.ones(image.shape[1:], dtype=torch.bool)
    missing = (0, crop[1] - image.shape[2], 0, crop[0] - image.shape[1])
    if any(missing):
        padded = _MEAN_COLOR[:, None, None].repeat(1, *crop)
        padded[:, : image.shape[1], : image.shape[2]] = image
        image, labels, valid = padded, F.pad(labels, missing, value=IGNORE), F.pad(valid, missing)
    return image, labels, valid


def _random_corner(picture: Picture, crop: tuple[int, int], seed: int) -> tuple[int, int]:
    generator = np.random.default_rng(seed)
    _, height, width = picture.image.shape
    top, left = (
        int(generator.integers(max(full - part, 0) + 1)) for full, part in zip((height, width), crop, strict=True)
    )
    return top, left
