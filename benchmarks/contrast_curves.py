"""What the contrast did in finished runs of `ablations.py contrast`, by the curves that watch it.

    python benchmarks/contrast_curves.py runs/ablations/contrast-*

A row has the means over the last half of the steps, and over the classes where a curve has one value for each:
`gradient` is the norm of the contrast's gradient on the features, divided by that of the supervised loss; `near` and
`far` are the attention of pixels that are nearer to the bank than their class's mean, and of the others;
`concentration` is the length of the mean of a class's unit rows in the bank; `attended` is the share of the rows to
which the attention amounts. Rows are added to benchmarks/contrast_curves.csv, and runs that are there already are
skipped.
"""

import argparse
import re
from pathlib import Path

from fewmask.run.folder import RunFolder
from fewmask.run.metrics import Metrics, read_metrics
from fewmask.study.key import run_of
from table import ROOT, Table

CURVES = {
    "gradient": "contrast_gradient",
    "near": "attention_near",
    "far": "attention_far",
    "concentration": "bank_concentration",
    "attended": "bank_attended",
}
_NAMED = re.compile(r"contrast-(?P<row>.+)-(?P<draw>seed\d+)-\d+-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    args = parser.parse_args()
    table = Table(ROOT / "benchmarks" / "contrast_curves.csv", ("data", "row", "draw", "steps", "network"))
    for path in args.runs:
        run, named = RunFolder(path), _NAMED.match(path.name)
        if named is None or not run.is_finished:
            continue
        made = run_of(run.recipe(), "contrast", run.recipe().data.root.name)
        key = {"data": made.data, "row": named["row"].replace("_", " "), "draw": named["draw"]}
        key |= {"steps": made.steps, "network": made.network}
        if not table.holds(**key):
            metrics = read_metrics(run)
            table.append(key | {name: _mean(metrics, curve) for name, curve in CURVES.items()})


def _mean(metrics: Metrics, curve: str) -> str:
    """The mean of a curve, or of its curves of all classes, over the last half of the run; empty if it has none."""
    last = max(metrics.curve("step").values)
    names = [column for column in metrics.columns if column == curve or column.startswith(f"{curve}/")]
    values = [
        value
        for found in map(metrics.curve, names)
        for step, value in zip(found.steps, found.values, strict=True)
        if step > last / 2
    ]
    return f"{sum(values) / len(values):.4f}" if values else ""


if __name__ == "__main__":
    main()
