"""Training from a recipe into a run folder, and going on with one."""

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from fewmask.engine.checkpoint import state_bytes
from fewmask.engine.device import launch_fabric
from fewmask.engine.fit import fit
from fewmask.engine.prepare import TrainingData, prepare_data
from fewmask.engine.run_folder import RunFolder, write_bytes
from fewmask.methods import Method
from fewmask.ops.draw import Purpose, seed_at
from fewmask.recipe import Recipe


def train_recipe(recipe: Recipe, out: Path, console: Console | None = None) -> RunFolder:
    """Trains by the recipe into the new folder `out`; the finished model lies in it."""
    data = prepare_data(recipe)
    method = build_method(recipe, data)
    run = RunFolder(out)
    run.create(recipe, data.classes, data.pools.labeled)
    return _train(recipe, data, method, run, console or Console(stderr=True))


def resume_run(out: Path, console: Console | None = None) -> RunFolder:
    """Goes on with an interrupted run as if it had never stopped; a finished one is left as it is."""
    run, console = RunFolder(out), console or Console(stderr=True)
    recipe = run.recipe()
    if run.model_file("student").exists():
        console.print(f"{out} is finished already; evaluate it with: fewmask evaluate {out}")
        return run
    data = prepare_data(recipe)
    return _train(recipe, data, build_method(recipe, data), run, console)


def build_method(recipe: Recipe, data: TrainingData) -> Method:
    """The method with freshly initialized weights, equal for equal recipes."""
    torch.manual_seed(seed_at(Purpose.WEIGHTS, recipe.training.seed))
    return recipe.method_type(recipe.method, data.tools(recipe))  # type: ignore[call-arg, arg-type]


def _train(recipe: Recipe, data: TrainingData, method: Method, run: RunFolder, console: Console) -> RunFolder:
    fabric = launch_fabric(recipe.training)
    for what, store in (("masks", data.labeled), ("unlabeled images", data.unlabeled)):
        if store is not None and store.cached:
            bar = track(store.fill(), f"reading {what}", len(store), console=console, transient=True)
            for _ in bar:
                pass
    unlabeled = 0 if data.unlabeled is None else len(data.unlabeled)
    crop = f"{data.crop[0]} x {data.crop[1]}"
    console.print(
        f"{recipe.method.name}: {len(data.labeled)} labeled and {unlabeled} unlabeled images, "
        f"{len(data.classes)} classes, crops of {crop}, {recipe.training.steps} steps on {fabric.device} -> {run.path}"
    )
    fit(fabric, method, data, recipe, run, console)
    if fabric.is_global_zero:
        if method.teacher is not None:
            write_bytes(run.model_file("teacher"), state_bytes(method.teacher))
        write_bytes(run.model_file("student"), state_bytes(method.student))  # last: its presence ends the run
    fabric.barrier()
    return run
