"""How right pseudo-labels are for each class: what a finished run predicts on train images whose masks it has not seen.

    python benchmarks/pseudo_labels.py runs/camvid/class_bank-seed0-4000

The teacher labels the images as they are, or the student if a method has no teacher. The weight of a pixel is its
confidence raised to the power that the loss raises it to, or to the power of 6 if the method has none.
`weight` is the mean weight, and `weighted_precision` counts every pixel by its weight. Rows are added to
benchmarks/pseudo_labels.csv, one for each class, and a run that is there already is skipped.
"""

import argparse
from pathlib import Path

import torch

from fewmask.data.masks import read_mask
from fewmask.recipe.folders import target_folder
from fewmask.shapes import IGNORE
from fewmask.use.model import Model, load
from table import Table, percent

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    args = parser.parse_args()
    table = Table(HERE / "pseudo_labels.csv", ("run", "class"))
    for run in args.runs:
        model = load(run)
        if table.holds(run=run.name, **{"class": model.classes.names[0]}):
            continue
        counts, weights = confusion(model)
        for row in class_rows(model.classes.names, counts, weights):
            table.append({"run": run.name} | row)


def confusion(model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels by true and predicted class [k k], and the same with each pixel counted by its weight; float64."""
    model.shipped = "teacher" if "teacher" in model.networks else "student"
    power = getattr(model.recipe.method, "confidence_sharpening", 6.0)
    labeled = set(model.run.labeled_names())
    folder = target_folder(model.recipe.data)
    classes = len(folder.classes)
    totals = torch.zeros(2, classes * classes, dtype=torch.float64)
    for sample in folder.train:
        if sample.name in labeled or sample.mask is None:
            continue
        truth = read_mask(sample.mask, folder.classes).long()
        prediction = model.predict_one(sample.image)
        labels, confidence = torch.from_numpy(prediction.labels), torch.from_numpy(prediction.confidence)
        known = truth != IGNORE
        cells = truth[known] * classes + labels[known].long()
        totals[0] += torch.bincount(cells, minlength=classes * classes)
        totals[1] += torch.bincount(cells, confidence[known].double() ** power, minlength=classes * classes)
    counts, weights = totals.view(2, classes, classes)
    return counts, weights


def class_rows(names: tuple[str, ...], counts: torch.Tensor, weights: torch.Tensor) -> list[dict[str, object]]:
    """One row per class, in percent; for a class that is never predicted, precision is 0 / 0 and reads nan."""
    right, true, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    columns = {
        "true_share": true / counts.sum(),
        "predicted_share": predicted / counts.sum(),
        "precision": right / predicted,
        "recall": right / true,
        "iou": right / (true + predicted - right),
        "weight": weights.sum(0) / predicted,
        "weighted_precision": weights.diagonal() / weights.sum(0),
    }
    return [
        {"class": name} | {column: percent(values[index].item()) for column, values in columns.items()}
        for index, name in enumerate(names)
    ]


if __name__ == "__main__":
    main()
