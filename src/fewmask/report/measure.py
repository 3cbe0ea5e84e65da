"""Predicts every scored image once, and keeps the counts from which all figures of a report follow."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewmask.data.classes import Classes
from fewmask.data.folder import Sample
from fewmask.data.store import FileStore
from fewmask.shapes import IGNORE, ByteLabel
from fewmask.use.deployed import Deployed, labels_and_confidence

BINS = 20  # of the confidence in [0, 1]
HITS, TRUTH, PREDICTED = range(3)
COUNT, RIGHT = range(2)


class Tally(NamedTuple):
    """The counts of one network, in pixels with a label.

    Attributes:
        images: [n 3 k], for each image and class: pixels that are rightly predicted, that the truth holds, and that are
            predicted.
        confusion: [k k], rows are the truth.
        sureness: [2 k bins], for each predicted class and bin of the confidence: pixels, and those that are right.
    """

    images: NDArray[np.int64]
    confusion: NDArray[np.int64]
    sureness: NDArray[np.int64]


def tally(
    networks: Mapping[str, Deployed], samples: Sequence[Sample], classes: Classes, tick: Callable[[int], None]
) -> dict[str, Tally]:
    """The counts of every network over samples with masks, at the full size of the masks.

    Args:
        networks: the networks by name.
        samples: samples with masks; each is decoded once.
        classes: how the masks of the samples are encoded.
        tick: called after every image with the number of all images.

    Raises:
        UserError: a file cannot be read.
    """
    store, k = FileStore(samples, classes), len(classes)
    images = {name: np.zeros((len(samples), 3, k), np.int64) for name in networks}
    confusions = {name: np.zeros((k, k), np.int64) for name in networks}
    sureness = {name: np.zeros((2, k, BINS), np.int64) for name in networks}
    for place in range(len(store)):
        picture = store.picture(place)
        assert picture.labels is not None
        for name, network in networks.items():
            labels, confidence = labels_and_confidence(network, picture.image)
            counts, by_confidence = _counts(labels.cpu(), confidence.cpu(), picture.labels, k)
            images[name][place] = np.stack([counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)])
            confusions[name] += counts
            sureness[name] += by_confidence
        tick(len(store))
    return {name: Tally(images[name], confusions[name], sureness[name]) for name in networks}


def _counts(
    labels: ByteLabel, confidence: Tensor, truth: ByteLabel, k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The confusion matrix [k k] of an image, and its counts by confidence [2 k bins]."""
    known = truth != IGNORE
    predicted, true = labels[known].long(), truth[known].long()
    confusion = torch.bincount(true * k + predicted, minlength=k * k).view(k, k)
    bins = (confidence[known] * BINS).long().clamp(0, BINS - 1)
    place = predicted * BINS + bins
    found = [torch.bincount(chosen, minlength=k * BINS) for chosen in (place, place[predicted == true])]
    return confusion.numpy(), torch.stack(found).view(2, k, BINS).numpy()
