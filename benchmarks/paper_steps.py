"""Seconds and memory of a training step by a recipe of recipes/paper/, on the present device.

Images are noise of the size of the crop, the network starts from random weights, and the batch lies on the device
already: what is timed is the step itself, past the warm-up, without reading, scoring or saving.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch

from fewmask.engine.checkpoint import Position
from fewmask.engine.device import launch_fabric
from fewmask.engine.fit import build_optimizers
from fewmask.engine.prepare import prepare_data
from fewmask.engine.reading import reading
from fewmask.engine.train import build_method
from fewmask.recipe import Recipe, make_recipe
from measure import median_seconds, peak_mib
from step import LATE, write_noise

_NUM_LABELED = 8  # of the 16 images of noise


def measure_step(recipe: Recipe, num_classes: int, repeats: int) -> dict[str, Any]:
    """The columns `device`, `seconds` (the median of the repeats) and `peak_mib` (beyond model and optimizers)."""
    with tempfile.TemporaryDirectory() as folder:
        noisy = _on_noise(recipe, Path(folder), num_classes)
        data, fabric = prepare_data(noisy), launch_fabric(noisy.training)
        method = build_method(noisy, data).to(fabric.device).train()
        optimizers = build_optimizers(method, noisy.training)
        with reading(data, noisy.training, Position(0, 0), 1, fabric) as batches:
            batch = next(batches).to(fabric.device)

    def step() -> None:
        with fabric.autocast():
            losses = method.step(batch, LATE).losses
        for optimizer in optimizers:
            optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        method.after_update(LATE)

    memory = peak_mib(step, fabric.device)
    seconds = median_seconds({"step": step}, repeats, fabric.device)["step"]
    return {"device": fabric.device.type, "seconds": f"{seconds:.4g}", "peak_mib": f"{memory:.0f}"}


def _on_noise(recipe: Recipe, folder: Path, num_classes: int) -> Recipe:
    """The recipe with noise for its data, and for its source domain."""
    assert isinstance(recipe.data.crop, int)
    write_noise(folder, (recipe.data.crop, recipe.data.crop), num_classes)
    changes: dict[str, Any] = {"data.root": str(folder), "data.labels": _NUM_LABELED, "data.resize": None}
    if recipe.source is not None:
        changes |= {"source.root": str(folder), "source.resize": None}
    return make_recipe(recipe.model_dump(mode="json"), changes | {"net.weights": "none"})
