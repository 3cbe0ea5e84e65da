"""The demo over seeds: supervised against class_bank at night, with 8 masks of the day and 200 unlabeled scenes.

    python benchmarks/scenes.py
    python benchmarks/scenes.py --methods classmix cutmix      # others, under the same conditions

Each seed draws its own scenes and its own weights. Rows are added to benchmarks/scenes.csv one by one.
"""

import argparse
from pathlib import Path

from fewmask.study.demo import MASKS, METHODS, demo_recipe, write_demo_scenes
from fewmask.study.key import run_of
from runs import add_row, results
from table import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, nargs="+", default=[None], help="default: those of the demo")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "scenes", help="where scenes and run folders go")
    args = parser.parse_args()
    table = results("scenes")
    for seed in args.seeds:
        data = args.runs / f"data-{seed}"
        if not (data / "test" / "masks").exists():
            write_demo_scenes(data, seed)
        for steps in args.steps:
            for method in args.methods:
                recipe = demo_recipe(data, method, steps, seed)
                run = run_of(recipe, "scenes", "scenes dusk to night")._replace(labels=str(MASKS), draw=str(seed))
                add_row(table, run, method, recipe, args.runs / f"{method}-{seed}-{run.steps}", ("test",))


if __name__ == "__main__":
    main()
