"""The gallery: which images are shown, in which order, and how good every run is on each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fewmask.data.classes import Classes
from fewmask.data.folder import Sample
from fewmask.report.bootstrap import iou
from fewmask.report.entries import Entry
from fewmask.report.pictures import Layer, layers, look
from fewmask.run.tallies import HITS, TRUTH, Tally


class Card(NamedTuple):
    """An image of the gallery.

    Attributes:
        name: the name of the image.
        rank: 1 for the worst of all scored images.
        miou: the mean IoU of the image's own classes by every run, in percent.
        accuracy: the share of its labeled pixels that the first run has right, in percent.
        worst: the class of the image with the lowest IoU, and this IoU in percent.
        layers: its pictures.
    """

    name: str
    rank: int
    miou: list[float]
    accuracy: float
    worst: tuple[str, float]
    layers: list[Layer]


class Gallery(NamedTuple):
    """The cards, the worst first, and of how many scored images they are."""

    cards: list[Card]
    scored: int


def gallery(
    entries: Sequence[Entry], tallies: Sequence[Tally], samples: Sequence[Sample], classes: Classes, most: int
) -> Gallery:
    """The gallery of at most `most` images; the tallies are those of the shipped networks on these samples."""
    per_class = [iou(tally.images) for tally in tallies]
    labeled = np.flatnonzero(tallies[0].images[:, TRUTH].sum(axis=1) > 0)
    miou = [np.nanmean(found[labeled], axis=1) for found in per_class]
    order = labeled[np.argsort(miou[0], kind="stable")]
    ranks = chosen_ranks(len(order), most)
    shown = [samples[order[rank]] for rank in ranks]
    seen = list(look(entries, shown, classes))
    cards = []
    for rank, sample, found in zip(ranks, shown, layers(seen, classes), strict=True):
        place = order[rank]
        counts = tallies[0].images[place]
        lowest = int(np.nanargmin(per_class[0][place]))
        cards.append(
            Card(
                sample.name,
                rank + 1,
                [100 * float(np.nanmean(each[place])) for each in per_class],
                100 * float(counts[HITS].sum() / counts[TRUTH].sum()),
                (classes.names[lowest], 100 * float(per_class[0][place, lowest])),
                found,
            )
        )
    return Gallery(cards, len(order))


def chosen_ranks(count: int, most: int) -> list[int]:
    """The ranks that are shown: all, or half of them the worst, and the others evenly spaced to the best."""
    if count <= most:
        return list(range(count))
    worst = most - most // 2
    rest = np.linspace(worst, count - 1, most - worst).round().astype(int).tolist() if most > worst else []
    return [*range(worst), *rest]
