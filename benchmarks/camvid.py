"""CamVid with 12 of 367 masks: supervised, class_bank, and supervised with every mask, on three splits.

    python benchmarks/camvid.py ../shared/data/camvid --weights ../shared/weights/mobilenetv2_100_imagenet.safetensors

The network is DeepLabv3+ over MobileNetV2 with ImageNet weights, at half resolution. Rows are added to
benchmarks/camvid.csv one by one. `--steps 500 1000 2000` gives the curve over the length of a run: each length is a run
with a schedule of its own.
"""

import argparse
from pathlib import Path

from fewmask.recipe import Recipe, make_recipe, parse_settings
from fewmask.study.key import run_of
from runs import add_row, results
from table import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=[2000])
    parser.add_argument("--splits", nargs="+", default=["seed0", "seed1", "seed2"])
    parser.add_argument("--methods", nargs="+", default=["supervised", "class_bank", "supervised_all"])
    parser.add_argument("--variant", default="", help="a name for the rows of --set")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "camvid", help="where run folders go")
    args = parser.parse_args()
    table = results("camvid")
    for steps in args.steps:
        for split in args.splits:
            for method in args.methods:
                if method == "supervised_all" and split != args.splits[0]:
                    continue  # all masks make one split
                name = "all" if method == "supervised_all" else split
                folder = args.runs / "-".join(filter(None, (method, args.variant, name, str(steps))))
                recipe = camvid_recipe(args.data, args.weights, method, split, steps, args.set)
                run = run_of(recipe, "camvid", "camvid", variant=args.variant)
                add_row(table, run, method, recipe, folder, ("val", "test"))


def camvid_recipe(
    data: Path, weights: str, method: str, split: str, steps: int, settings: list[str], share: str = "1_30"
) -> Recipe:
    """The recipe of a row. `supervised_all` is `supervised` with every mask, as any method is with the share `all`."""
    everything = method == "supervised_all" or share == "all"
    return make_recipe(
        {
            "data": {
                "root": str(data),
                "labels": None if everything else str(data / "splits" / share / f"{split}.txt"),
                "resize": 0.5,
                "crop": [176, 240],
            },
            "net": {"arch": "deeplabv3plus", "encoder": "mobilenetv2_100", "weights": weights},
            "method": "supervised" if method == "supervised_all" else method,
            "training": {"steps": steps, "labeled_batch": 4, "unlabeled_batch": 2, "learning_rate": 1e-3},
        },
        parse_settings(settings),
    )


if __name__ == "__main__":
    main()
