"""Learned by heart or learned: mIoU of finished runs on the labeled images they trained on and on the rest of train.

    python benchmarks/own_images.py runs/label_contrast/*

The scores are those of the student, in percent, at full mask size. Rows are added to benchmarks/own_images.csv, and a
run that is there already is skipped.
"""

import argparse
from pathlib import Path

from fewmask.recipe.folders import target_folder
from fewmask.use.evaluate import score
from fewmask.use.model import load
from table import Table, percent

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    args = parser.parse_args()
    table = Table(HERE / "own_images.csv", ("run",))
    for run in args.runs:
        if table.holds(run=run.name):
            continue
        model = load(run)
        folder, own = target_folder(model.recipe.data), set(model.run.labeled_names())
        row: dict[str, object] = {"run": run.name}
        for name, is_own in (("own", True), ("other", False)):
            samples = [s for s in folder.train if s.mask is not None and (s.name in own) == is_own]
            scores = score({"student": model.networks["student"]}, samples, folder.classes)["student"]
            row |= {f"{name}_images": len(samples), name: percent(scores.miou)}
        table.append(row)


if __name__ == "__main__":
    main()
