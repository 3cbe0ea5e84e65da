"""Predicts every image of a split once, and keeps the counts from which all scores and figures of a report follow."""

from collections.abc import Callable, Mapping, Sequence
from itertools import tee
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from fewmask.data.classes import Classes
from fewmask.data.folder import Sample
from fewmask.data.store import FileStore
from fewmask.run.tallies import BINS, Tally
from fewmask.shapes import IGNORE, ByteLabel
from fewmask.use.deployed import Deployed, labels_and_confidence


def tally(
    networks: Mapping[str, Deployed], samples: Sequence[Sample], classes: Classes, tick: Callable[[int], None]
) -> dict[str, Tally]:
    """The counts of every network over samples with masks, at the full size of the masks.

    Args:
        networks: the networks by name.
        samples: samples with masks; each is decoded once, one after the other.
        classes: how the masks of the samples are encoded; the names must be those of the networks' classes.
        tick: called after every image with the number of all images.

    Raises:
        UserError: a file cannot be read.
    """
    begin = perf_counter()
    store, k = FileStore(samples, classes), len(classes)
    images = {name: np.zeros((len(samples), 3, k), np.int64) for name in networks}
    confusions = {name: np.zeros((k, k), np.int64) for name in networks}
    sureness = {name: np.zeros((2, k, BINS), np.int64) for name in networks}
    pictures, again = tee(store.picture(place) for place in range(len(store)))
    predicted = labels_and_confidence(networks, (picture.image for picture in pictures))
    for place, (found, picture) in enumerate(zip(predicted, again, strict=True)):
        assert picture.labels is not None
        for name, (labels, confidence) in found.items():
            counts, by_confidence = _counts(labels.cpu(), confidence.cpu(), picture.labels, k)
            images[name][place] = np.stack([counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)])
            confusions[name] += counts
            sureness[name] += by_confidence
        tick(len(store))
    seconds = (perf_counter() - begin) / len(samples) / len(networks)
    return {
        name: Tally(images[name], confusions[name], sureness[name], seconds, str(network.net.mean.device))
        for name, network in networks.items()
    }


def _counts(
    labels: ByteLabel, confidence: Tensor, truth: ByteLabel, k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The confusion matrix [k k] of an image, and its counts by confidence [2 k bins]."""
    confusion = multiclass_confusion_matrix(labels.long(), truth.long(), k, ignore_index=IGNORE)
    known = truth != IGNORE
    predicted, true = labels[known].long(), truth[known].long()
    bins = (confidence[known] * BINS).long().clamp(0, BINS - 1)
    place = predicted * BINS + bins
    found = [torch.bincount(chosen, minlength=k * BINS) for chosen in (place, place[predicted == true])]
    return confusion.numpy(), torch.stack(found).view(2, k, BINS).numpy()
