"""Seconds and memory of a training step by a recipe of recipes/paper/, on the present device.

Images are noise at the size of the crop, networks start from random weights, and the batch lies on the device already.
So only the step itself is timed, late in every stage, without reading, labeling the pool, scoring or saving.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from fewmask.recipe import Recipe, make_recipe
from fewmask.run.checkpoint import Position
from fewmask.training.batches import reading
from fewmask.training.build import build_method
from fewmask.training.device import fit_to_device, launch_fabric, loss_scaler
from fewmask.training.optimizers import build_optimizers
from fewmask.training.prepare import prepare_data
from fewmask.training.trainer import Trainer
from measure import median_seconds, peak_mib
from step import write_noise

_NUM_LABELED = 8  # out of 16 images of noise


def measure_step(recipe: Recipe, num_classes: int, repeats: int) -> dict[str, Any]:
    """The columns `device`, `seconds` and `peak_mib`.

    Seconds are the mean over the steps of a run: the median of the repeats in each stage, weighted by the stage's
    share. Memory is that of the stage that needs most, beyond model and optimizers.
    """
    with tempfile.TemporaryDirectory() as folder:
        noisy = _on_noise(recipe, Path(folder), num_classes)
        data, fabric = prepare_data(noisy), launch_fabric(noisy.training)
        method = build_method(noisy, data).train()
        optimizers = build_optimizers(method.parameter_groups(), noisy.training)
        fit_to_device(method, fabric)
        trainer = Trainer(method, optimizers, noisy.training, fabric, scaler=loss_scaler(fabric))
        with reading(data, noisy.training, Position(0, 0), 1, fabric) as batches:
            batch = next(batches).to(fabric.device)

    stages = trainer.stages
    steps = {stage.name: partial(trainer.step, method.now(900, 1000, stage.name), batch) for stage in stages}
    memory = max(peak_mib(run, fabric.device) for run in steps.values())
    medians = median_seconds(steps, repeats, fabric.device)
    seconds = sum(stage.share * medians[stage.name] for stage in stages)
    return {"device": fabric.device.type, "seconds": f"{seconds:.4g}", "peak_mib": f"{memory:.0f}"}


def _on_noise(recipe: Recipe, folder: Path, num_classes: int) -> Recipe:
    """The recipe with noise as its data and as its source domain, and without pretrained weights."""
    assert isinstance(recipe.data.crop, int)
    changes: dict[str, Any] = {"data.labels": _NUM_LABELED, "net.weights": "none"}
    for domain in ("data", "source") if recipe.source else ("data",):
        write_noise(folder / domain, (recipe.data.crop, recipe.data.crop), num_classes)
        changes |= {f"{domain}.root": str(folder / domain), f"{domain}.resize": None}
    noisy = make_recipe(recipe.model_dump(mode="json"), changes)
    return noisy.model_copy(update={"method": noisy.method.with_weights(lambda _: "none")})
