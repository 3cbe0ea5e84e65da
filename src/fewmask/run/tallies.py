"""tallies/SPLIT.safetensors: what a finished run's networks made of every image of a split, as counts of pixels.

All scores follow from these counts, and so does every figure of a report.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fewmask.data.folder import Sample
from fewmask.run.atomic import write_bytes
from fewmask.run.folder import RunFolder
from fewmask.run.standing import still_holds

BINS = 20  # of the confidence in [0, 1]
HITS, TRUTH, PREDICTED = range(3)
COUNT, RIGHT = range(2)
_COUNTS = ("images", "confusion", "sureness")


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
    counts = {f"{name}/{field}": getattr(tally, field) for name, tally in tallies.items() for field in _COUNTS}
    measured = {name: (tally.seconds, tally.device) for name, tally in tallies.items()}
    path = run.tally_file(split)
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, save(counts, {"samples": json.dumps(_names(samples)), "measured": json.dumps(measured)}))


def standing_tallies(run: RunFolder, split: str, samples: Sequence[Sample]) -> dict[str, Tally] | None:
    """The counts that a run keeps by network, if they are of these samples and nothing has changed since; else None.

    Counts that cannot be read are None too, because they can be had anew.
    """
    path = run.tally_file(split)
    try:
        with safe_open(path, "numpy") as file:
            known = {name: json.loads(text) for name, text in file.metadata().items()}
            if known["samples"] != _names(samples) or not still_holds(path, run, samples):
                return None
            return {
                name: Tally(*(file.get_tensor(f"{name}/{field}") for field in _COUNTS), *measured)
                for name, measured in known["measured"].items()
            }
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError, TypeError):
        return None


def _names(samples: Sequence[Sample]) -> list[str]:
    return [sample.name for sample in samples]
