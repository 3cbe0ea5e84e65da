"""An ablation of recipes/ablations/ on your data trains every row of its table by one recipe, on every split.

    python benchmarks/ablations.py losses ../shared/data/camvid --weights WEIGHTS --steps 2000

Tables: methods (2), losses (5), contrast_weight (6), bank_size (7) and parts (8) are tables of the paper. released sets
the paper against the released code, attention varies the rate of the attention, and chance varies nothing but the seed.
The recipe is recipes/camvid_class_bank.yaml, or the one that `--recipe` names. `--labels` are lists of labeled images,
one for each split; without it, the 1/30 lists of the data are used. Rows are added to benchmarks/ablations.csv one by
one, and rows that are there already are skipped.
"""

import argparse
from pathlib import Path

import yaml

from fewmask.recipe import Recipe, parse_settings, read_recipe
from fewmask.study.key import run_of
from runs import add_row, results
from table import ROOT

FOLDER = ROOT / "recipes" / "ablations"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ablation", choices=sorted(path.stem for path in FOLDER.glob("*.yaml")))
    parser.add_argument("data", type=Path)
    parser.add_argument("--name", default="camvid", help="what the rows call the data")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "camvid_class_bank.yaml")
    parser.add_argument("--labels", nargs="*", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rows", nargs="*", help="only these")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="for every row")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "ablations", help="where run folders go")
    args = parser.parse_args()
    table = results("ablations")
    rows = yaml.safe_load((FOLDER / f"{args.ablation}.yaml").read_text())
    labels = args.labels or sorted((args.data / "splits" / "1_30").glob("*.txt"))
    for split in labels:
        for name, row in rows.items():
            if args.rows and name not in args.rows:
                continue
            recipe = row_recipe(args.recipe, args.data, split, args.weights, args.steps, row["set"], args.set)
            run = run_of(recipe, args.ablation, args.name)
            parts = (args.ablation, name, split.stem, args.steps, run.network, run.resize, run.crop)
            folder = args.runs / "-".join(map(str, parts)).replace(" ", "_")
            add_row(table, run, name, recipe, folder, ("val", "test"))


def row_recipe(
    base: Path, data: Path, labels: Path, weights: str, steps: int, row: dict[str, object], settings: list[str]
) -> Recipe:
    """The recipe of a row of the table on a split."""
    changes = {"data.root": str(data), "data.labels": str(labels), "net.weights": weights, "training.steps": steps}
    return read_recipe(base, changes | row | parse_settings(settings))


if __name__ == "__main__":
    main()
