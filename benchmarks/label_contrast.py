"""Label-based contrastive pre-training on CamVid: mIoU over the share of labels, from random and from ImageNet weights.

    python benchmarks/label_contrast.py ../shared/data/camvid --weights MOBILENETV2.safetensors

Zhao et al., Contrastive Learning for Label Efficient Semantic Segmentation, ICCV 2021. A row's `pretraining` is `none`
or a loss (`within`, `cross`, `batch`), after which supervised fine-tuning follows. With `+round`, both are done once
more with pseudo-labels of the unlabeled images. With `+class_bank`, that method takes the place of the fine-tuning. All
rows take the same number of steps. Network and sizes are those of benchmarks/camvid.py, unless `--set` changes them
(net.encoder=resnet18 data.resize=0.25 data.crop=[96,128]). `--contrast` changes the pre-training (variant=released
temperature=0.1). Any other change needs a `--variant`, which tells rows apart. Rows are added to
benchmarks/label_contrast.csv one by one.
"""

import argparse
from itertools import product
from pathlib import Path

from camvid import camvid_recipe
from fewmask.study.key import run_of
from runs import add_row, results
from table import ROOT

PRETRAINING = [loss + after for after in ("", "+round", "+class_bank") for loss in ("none", "within", "cross", "batch")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="imagenet", help="those of the start `imagenet`")
    parser.add_argument("--steps", type=int, default=2000, help="of a whole run, pre-training included")
    parser.add_argument("--shares", nargs="+", default=["1_30", "1_8", "1_4"])
    parser.add_argument("--starts", nargs="+", choices=["random", "imagenet"], default=["random", "imagenet"])
    parser.add_argument("--pretraining", nargs="+", choices=PRETRAINING, default=PRETRAINING, metavar="NAME")
    parser.add_argument("--splits", nargs="+", default=["seed0", "seed1", "seed2"])
    parser.add_argument("--variant", default="", help="a name for the rows of --set and --contrast")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="for every row")
    parser.add_argument("--contrast", nargs="*", default=[], metavar="KEY=VALUE", help="for rows with pre-training")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "label_contrast", help="where run folders go")
    args = parser.parse_args()
    table = results("label_contrast")
    for share, start, pretraining, split in product(args.shares, args.starts, args.pretraining, args.splits):
        method, settings = method_and_settings(pretraining, args.contrast)
        weights = args.weights if start == "imagenet" else "none"
        recipe = camvid_recipe(args.data, weights, method, split, args.steps, [*settings, *args.set], share)
        run = run_of(recipe, "label_contrast", "camvid", variant=args.variant)
        parts = (start, pretraining, share, split, args.steps, run.network, run.resize, run.crop, args.variant)
        folder = args.runs / "-".join(str(part) for part in parts if part)
        add_row(table, run, pretraining, recipe, folder, ("val", "test"))


def method_and_settings(pretraining: str, contrast: list[str]) -> tuple[str, list[str]]:
    """The method for a row's `pretraining`, and the settings that differ from the method's defaults."""
    loss, _, after = pretraining.partition("+")
    if after == "round":  # a share of less than one step makes label_contrast without its contrast
        of_loss = ["share=1e-9"] if loss == "none" else [f"loss={loss}", *contrast]
        return "label_contrast", ["method.pseudo_labels=true", *(f"method.contrast.{text}" for text in of_loss)]
    of_loss = [] if loss == "none" else [f"loss={loss}", *contrast]
    return after or "supervised", [f"pretrain.{text}" for text in of_loss]


if __name__ == "__main__":
    main()
