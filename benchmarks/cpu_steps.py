"""What a step of class_bank costs beside one of supervised on one thread of a CPU, and what its parts cost.

    OMP_NUM_THREADS=1 python benchmarks/cpu_steps.py

DeepLabv3+ over MobileNetV2, two labeled and two unlabeled crops of 176 x 240, float32, late in a run with a full bank.
The steps take turns in one process. A time is the processor's time for a step, which other programs on the machine
disturb less than the clock's; `ratio` is over supervised, from the medians. Rows are added to benchmarks/cpu_steps.csv,
and rows that are there already are skipped.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console

from fewmask.recipe import make_recipe
from fewmask.run.checkpoint import Position
from fewmask.training.batches import reading
from fewmask.training.device import launch_fabric
from fewmask.training.prepare import prepare_data
from step import LateTrainer, write_noise
from table import Table

SIZE = (176, 240)
STEPS: dict[str, dict[str, Any]] = {
    "supervised": {"name": "supervised"},
    "class_bank": {"name": "class_bank"},
    "class_bank, one view": {"name": "class_bank", "num_views": 1},
    "class_bank, no contrast": {"name": "class_bank", "contrast_weight": 0.0},
    "class_bank, one view, no contrast": {"name": "class_bank", "num_views": 1, "contrast_weight": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(Path(__file__).parent / "cpu_steps.csv", ("step",))
    if all(table.holds(step=name) for name in STEPS):
        return
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder), SIZE, 11)
        runs = {name: late_step(Path(folder), settings) for name, settings in STEPS.items()}
        seconds = {name: median(taken) for name, taken in processor_seconds(runs, args.repeats).items()}
    for name, value in seconds.items():
        row = {"step": name, "cpu_ms": f"{1000 * value:.4g}", "ratio": f"{value / seconds['supervised']:.2f}"}
        table.append(row, "32")
        Console().print(table.rows()[-1])


def late_step(folder: Path, settings: dict[str, Any], net: dict[str, str] | None = None, precision: str = "32") -> Any:
    """A function that takes a late step of a method, always with the same batch."""
    net = net or {"arch": "deeplabv3plus", "encoder": "mobilenetv2_100"}
    filtered = {"quality_threshold": 0.0} if settings["name"] == "class_bank" else {}
    recipe = make_recipe(
        {
            "data": {"root": str(folder), "labels": 4},
            "net": net | {"weights": "none"},
            "method": settings | filtered,
            "training": {"labeled_batch": 2, "precision": precision, "device": "cpu"},
        }
    )
    data, fabric = prepare_data(recipe), launch_fabric(recipe.training)
    with reading(data, recipe.training, Position(0, 0), 1, fabric) as batches:
        batch = next(batches).to(torch.device("cpu"))
    trainer = LateTrainer(recipe.method_type, recipe, data, fabric)
    return lambda: trainer.late(batch)


def processor_seconds(runs: dict[str, Any], repeats: int) -> dict[str, list[float]]:
    """Seconds of the processor for each run in each round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name in runs if turn % 2 else reversed(runs):
            begin = time.process_time()
            runs[name]()
            if turn:
                seconds[name].append(time.process_time() - begin)
    return seconds


if __name__ == "__main__":
    main()
