"""tally_SPLIT.npz: what a finished run's networks made of every image of a split, as counts of pixels.

All scores follow from these counts, and so does every figure of a report.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fewmask.data.folder import Sample
from fewmask.run.atomic import write_bytes
from fewmask.run.folder import RunFolder

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
        seconds: mean time of an image, reading and counting included.
        device: where the network was, such as `cpu`.
    """

    images: NDArray[np.int64]
    confusion: NDArray[np.int64]
    sureness: NDArray[np.int64]
    seconds: float
    device: str


def write_tallies(run: RunFolder, split: str, samples: Sequence[Sample], tallies: Mapping[str, Tally]) -> None:
    """Keeps the counts of the networks over these samples; raises OSError if they cannot be written."""
    fields: dict[str, Any] = {
        f"{name}/{field}": value for name, tally in tallies.items() for field, value in tally._asdict().items()
    }
    content = BytesIO()
    np.savez_compressed(content, samples=_names(samples), networks=list(tallies), **fields)
    write_bytes(run.tally_file(split), content.getvalue())


def standing_tallies(run: RunFolder, split: str, samples: Sequence[Sample]) -> dict[str, Tally] | None:
    """The counts that a run keeps by network, if they are of these samples and none of their files is newer; else None.

    Counts that cannot be read are None too, because they can be had anew.
    """
    path = run.tally_file(split)
    try:
        written = path.stat().st_mtime_ns
        with path.open("rb") as file, np.load(file) as kept:
            if kept["samples"].tolist() != _names(samples) or _changed(samples, written):
                return None
            return {name: _tally(kept, name) for name in kept["networks"].tolist()}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _tally(kept: Mapping[str, NDArray[Any]], name: str) -> Tally:
    images, confusion, sureness, seconds, device = (kept[f"{name}/{field}"] for field in Tally._fields)
    return Tally(images, confusion, sureness, float(seconds), str(device))


def _names(samples: Sequence[Sample]) -> list[str]:
    return [sample.name for sample in samples]


def _changed(samples: Sequence[Sample], since: int) -> bool:
    """Whether an image or a mask was written after this time in nanoseconds."""
    files = [file for sample in samples for file in (sample.image, sample.mask) if file is not None]
    return any(file.stat().st_mtime_ns > since for file in files)
