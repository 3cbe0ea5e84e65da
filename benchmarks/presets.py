"""What a step of each preset takes on one thread of a CPU, and so a whole run.

    OMP_NUM_THREADS=1 python benchmarks/presets.py CAMVID

The data set is CamVid with 12 masks; the steps are late ones of a run, with a full bank, in float32, with random
weights. So that memory suffices, a step is measured in passes of two labeled and two unlabeled images, of which a
preset's step has `passes`. The presets take turns in one process. A time is the processor's time, which other programs
on the machine disturb less than the clock's. Rows are added to benchmarks/presets.csv, and rows that are there already
are skipped.
"""

import argparse
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from rich.console import Console

from cpu_steps import processor_seconds
from fewmask.recipe import Recipe
from fewmask.recipe.presets import PRESETS
from fewmask.run.checkpoint import Position
from fewmask.training.batches import reading
from fewmask.training.device import launch_fabric
from fewmask.training.prepare import TrainingData, prepare_data
from fewmask.training.preset import recipe_to_train
from step import LateTrainer
from table import Table

METHODS = ("supervised", "class_bank")
IMAGES = 2  # labeled images of a pass, and as many unlabeled ones


class Planned(NamedTuple):
    """A run by a preset, and the same run in passes of a few images."""

    recipe: Recipe
    measured: Recipe
    data: TrainingData

    @property
    def passes(self) -> int:
        """How many passes a step of the preset has."""
        return self.recipe.training.labeled_batch // IMAGES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="CamVid")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(Path(__file__).parent / "presets.csv", ("preset", "method"))
    for method in METHODS:
        if all(table.holds(preset=preset, method=method) for preset in PRESETS):
            continue
        planned = {preset: plan(args.data, preset, method) for preset in PRESETS}
        passes = {preset: late_pass(each) for preset, each in planned.items()}
        seconds = {preset: median(taken) for preset, taken in processor_seconds(passes, args.repeats).items()}
        for preset, each in planned.items():
            table.append({"preset": preset, "method": method} | row(each, seconds[preset]), "32")
            Console().print(table.rows()[-1])


def plan(data: Path, preset: str, method: str) -> Planned:
    """The run of a preset on this data."""
    settings: dict[str, Any] = {"method.name": method, "data.labels": 12, "net.weights": "none"}
    if method == "class_bank":
        settings["method.quality_threshold"] = 0.0  # the bank takes rows of a network that has learned nothing, too
    settings |= {"training.device": "cpu", "training.precision": "32"}
    recipe = recipe_to_train(data, settings, preset)
    training = recipe.training.model_copy(update={"labeled_batch": IMAGES})
    return Planned(recipe, recipe.model_copy(update={"training": training}), prepare_data(recipe))


def late_pass(planned: Planned) -> Any:
    """A function that takes a step of one pass late in the run, always with the same batch."""
    fabric = launch_fabric(planned.measured.training)
    with reading(planned.data, planned.measured.training, Position(0, 0), 1, fabric) as batches:
        batch = next(batches).to(torch.device("cpu"))
    trainer = LateTrainer(planned.recipe.method_type, planned.measured, planned.data, fabric)
    return lambda: trainer.late(batch)


def row(planned: Planned, seconds: float) -> dict[str, Any]:
    """The columns of a preset, whose pass takes these seconds."""
    recipe, step = planned.recipe, planned.passes * seconds
    return {
        "network": f"{recipe.net.arch}-{recipe.net.encoder}",
        "crop": f"{planned.data.crop[0]}x{planned.data.crop[1]}",
        "passes": planned.passes,
        "step_seconds": f"{step:.3g}",
        "steps": recipe.training.steps,
        "run_hours": f"{recipe.training.steps * step / 3600:.3g}",
    }


if __name__ == "__main__":
    main()
