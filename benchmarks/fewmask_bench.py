"""All methods on CamVid, IDD-Lite and NEU-Seg with 12 masks and with an eighth or a thirtieth, on three draws of each.

    python benchmarks/fewmask_bench.py ../shared/data \
        --weights tf_efficientnet_lite0=../shared/weights/tf_efficientnet_lite0.safetensors \
        mobilenetv2_100=../shared/weights/mobilenetv2_100_imagenet.safetensors

The first argument is a folder with the folders camvid, idd_lite and neu_seg. Every data set with every encoder is a
comparison as `fewmask compare` runs it, in both arms: the same settings for all methods, and those of each paper. A run
takes `--passes` passes over the unlabeled images. Rows are added to benchmarks/fewmask_bench.csv one by one, cheapest
first, and what runs cost to benchmarks/fewmask_bench_costs.csv. Rows that stand are skipped, so the command may be
stopped at any point and given again. `--seeds 3 4 5` makes draws of 12 masks that no list holds: it needs `--lists 12`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from fewmask.recipe import parse_settings
from fewmask.study.compare import ARMS, BUDGETS, Study, StudyFolder, compare, launcher_for, plan_study
from table import ROOT, check_package, command, commit

RESULTS = ROOT / "benchmarks"
STUDY = "fewmask_bench"


class DataSet(NamedTuple):
    """The lists of masks of a data set, and the sizes to train at; images are not resized but for CamVid."""

    lists: tuple[str, ...]
    crop: tuple[int, int]
    resize: float | None = None


DATA_SETS = {
    "camvid": DataSet(("1_30", "1_8"), (176, 240), 0.5),  # 12 and 46 masks
    "neu_seg": DataSet(("12", "116"), (192, 192)),
    "idd_lite": DataSet(("12", "41"), (224, 320)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("--weights", nargs="+", required=True, metavar="ENCODER=FILE")
    parser.add_argument("--sets", nargs="+", choices=DATA_SETS, default=list(DATA_SETS))
    parser.add_argument("--methods", nargs="+", default=["all"])
    parser.add_argument("--lists", nargs="+", help="folders of lists, or numbers of masks to draw, for every data set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--budget", choices=BUDGETS, default=BUDGETS[0])
    parser.add_argument("--passes", type=float, default=10, help="passes over the unlabeled images")
    parser.add_argument("--batch", type=int, default=4, help="labeled images of a batch, and as many unlabeled ones")
    parser.add_argument("--study", default=STUDY, help="the name of these rows; another one for rows of --set")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--devices", nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where run folders go")
    args = parser.parse_args()
    check_package()
    studies = [planned(name, encoder, weights, args) for name in args.sets for encoder, weights in _weights(args)]
    failures: dict[str, str] = {}
    for study in sorted(studies, key=_cost):
        net = study.baseline.net
        out = args.runs / args.study / f"{study.data}-{net.encoder}-{study.baseline.training.steps}-{study.budget}"
        folder = StudyFolder(out, RESULTS / f"{STUDY}.csv", RESULTS / f"{STUDY}_costs.csv")
        launcher = launcher_for(args.jobs, args.devices, None, {}, out)
        done = compare(study, folder, launcher, Console(width=160), _origin)
        failures |= {f"{study.data} {net.encoder} {name}": why for name, why in done.failures.items()}
    for name, why in failures.items():
        print(f"failed: {name}: {why}")
    sys.exit(1 if failures else 0)


def planned(name: str, encoder: str, weights: str, args: argparse.Namespace) -> Study:
    """The comparison on a data set with an encoder; its number of steps follows from the number of passes."""
    chosen, root = DATA_SETS[name], args.data / name
    settings: dict[str, Any] = {
        "data.resize": chosen.resize,
        "data.crop": list(chosen.crop),
        "net.arch": "deeplabv3plus",
        "net.encoder": encoder,
        "net.weights": weights,
        "training.labeled_batch": args.batch,
        "training.unlabeled_batch": args.batch,
        "training.learning_rate": 1e-3,
        **parse_settings(args.set),
    }
    labels = [_labels(root / "splits" / text, args.seeds) for text in args.lists or chosen.lists]

    def study(steps: int) -> Study:
        own = settings | {"training.steps": steps}
        kind: dict[str, Any] = {"arms": args.arms, "budget": args.budget, "name": args.study, "data": name}
        return plan_study(root, args.methods, labels, args.seeds, own, **kind)

    num_unlabeled = study(1).labels[0].num_unlabeled
    return study(max(1, round(args.passes * num_unlabeled / args.batch)))


def _labels(folder: Path, seeds: Sequence[int]) -> str:
    """The folder of lists if it has one for every seed, else its name, which is then a number of masks to draw."""
    has_all = all((folder / f"seed{seed}.txt").exists() for seed in seeds)
    return str(folder) if has_all else folder.name


def _weights(args: argparse.Namespace) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in args.weights]
    return [(encoder, path) for encoder, _, path in pairs]


def _cost(study: Study) -> float:
    """Says which comparison is cheaper: pixels of all steps."""
    height, width = DATA_SETS[study.data].crop
    return study.baseline.training.steps * height * width


def _origin() -> tuple[str, str]:
    return command(), commit()


if __name__ == "__main__":
    main()
