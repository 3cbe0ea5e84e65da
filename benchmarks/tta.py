"""What test-time augmentation gives: a run's mIoU on val and test with and without it, and the time of a prediction.

    python benchmarks/tta.py RUN [RUN ...] [--splits val test]

Each image is predicted without augmentation, with its mirror image, and with mirror images at three scales, one after
the other, at its own size and in the way of `fewmask predict`. Rows go to benchmarks/tta.csv, one for each run, split
and kind of augmentation. A gain has its 95 % interval over the images.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewmask.data.folder import Sample
from fewmask.data.store import FileStore
from fewmask.recipe.folders import target_folder
from fewmask.report.bootstrap import intervals, resampled
from fewmask.shapes import IGNORE
from fewmask.use.model import Model, load
from fewmask.use.network import PLAIN, Network, View, augmented_views
from fewmask.use.raster.source import WholeSource
from fewmask.use.streaming import Plan, Way, predict_in_tiles, predict_together
from table import ROOT, Table, percent

VIEWS = {"none": PLAIN, "flips": augmented_views((1.0,)), "flips and scales": augmented_views()}
KEYS = ("data", "masks", "method", "seed", "split", "views")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--splits", nargs="+", default=["val", "test"], choices=("val", "test"))
    args = parser.parse_args()
    table = Table(ROOT / "benchmarks" / "tta.csv", KEYS)
    for run in args.runs:
        model = load(run, "cpu")
        folder = target_folder(model.recipe.data)
        for split in args.splits:
            key = {**described(model), "split": split}
            if not all(table.holds(**key, views=name) for name in VIEWS):
                samples = [sample for sample in getattr(folder, split) if sample.mask is not None]
                for row in compared(model, samples):
                    table.append(key | row, "32")


def described(model: Model) -> dict[str, Any]:
    """What a run is, in the columns of a row."""
    recipe = model.recipe
    masks = "/".join(Path(str(recipe.data.labels or "all")).with_suffix("").parts[-2:])
    return {
        "data": recipe.data.root.name,
        "masks": masks,
        "method": recipe.method.name,
        "seed": recipe.training.seed,
        "network": f"{recipe.net.arch} {recipe.net.encoder}",
        "resize": recipe.data.resize,
        "steps": recipe.training.steps,
    }


def compared(model: Model, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """A row for every kind of augmentation; on each image they take turns."""
    store, k = FileStore(samples, model.classes), len(model.classes)
    counts = {name: np.zeros((len(store), 3, k), np.int64) for name in VIEWS}
    seconds = dict.fromkeys(VIEWS, 0.0)
    for place in range(len(store)):
        picture = store.picture(place)
        assert picture.labels is not None
        pixels, truth = picture.image.permute(1, 2, 0).numpy(), picture.labels.numpy()
        for name, views in VIEWS.items():
            begin = time.process_time()
            labels = predicted(model.network, pixels, views)
            seconds[name] += time.process_time() - begin
            counts[name][place] = counted(labels, truth, k)
    drawn = {name: resampled(found) for name, found in counts.items()}
    rows = []
    for name, found in drawn.items():
        gain = intervals(found, drawn["none"]).miou
        rows.append(
            {
                "views": name,
                "images": len(store),
                "miou": percent(intervals(found).miou.value),
                **dict(zip(("gain", "gain_low", "gain_high"), map(percent, gain), strict=True)),
                "cpu_ms": f"{1000 * seconds[name] / len(store):.4g}",
                "time_ratio": f"{seconds[name] / seconds['none']:.2f}",
            }
        )
    return rows


def predicted(network: Network, pixels: NDArray[np.uint8], views: Sequence[View]) -> NDArray[np.uint8]:
    """The labels of an image [h w]."""
    plan = Plan(network, (pixels.shape[0], pixels.shape[1]), Way(views=views))
    if plan.is_whole:
        bands = list(next(predict_together(network, [pixels], plan)))
    else:
        bands = list(predict_in_tiles(network, WholeSource(pixels), plan))
    return np.concatenate([band.labels for band in bands])


def counted(labels: NDArray[np.uint8], truth: NDArray[np.uint8], k: int) -> NDArray[np.int64]:
    """Pixels [3 k] of each class that are rightly predicted, that the truth holds, and that are predicted."""
    known = truth != IGNORE
    pairs = [truth[known & (labels == truth)], truth[known], labels[known]]
    return np.stack([np.bincount(found, minlength=k) for found in pairs])


if __name__ == "__main__":
    main()
