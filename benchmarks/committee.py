"""What runs give that predict together: the mIoU of each alone, and of the mean of their probabilities.

    python benchmarks/committee.py RUN RUN [RUN ...] [--splits val test]

The runs are of one recipe and differ in the seed. Rows go to benchmarks/committee.csv, one for each split.
"""

import argparse
from pathlib import Path

from fewmask.use.model import load
from table import ROOT, Table, percent
from tta import described

KEYS = ("data", "masks", "method", "network", "resize", "steps", "seeds", "split")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--splits", nargs="+", default=["val", "test"], choices=("val", "test", "unlabeled"))
    args = parser.parse_args()
    table = Table(ROOT / "benchmarks" / "committee.csv", KEYS)
    members = [described(load(run, "cpu")) for run in args.runs]
    first = {name: value for name, value in members[0].items() if name != "seed"}
    if any(member != first | {"seed": member["seed"]} for member in members):
        parser.error("the runs differ in more than the seed")
    key = first | {"seeds": " ".join(str(member["seed"]) for member in members)}
    model = load(args.runs[0], "cpu", also=args.runs[1:])
    for split in args.splits:
        if not table.holds(**key, split=split):
            scores = model.evaluate(split)
            alone = [scores[str(run)]["miou"] for run in args.runs]
            row = {
                "alone": " ".join(map(percent, alone)),
                "mean_alone": percent(sum(alone) / len(alone)),
                "together": percent(scores["miou"]),
                "gain": percent(scores["miou"] - sum(alone) / len(alone)),
            }
            table.append(key | {"split": split} | row, "32")


if __name__ == "__main__":
    main()
