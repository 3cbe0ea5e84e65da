"""Tries the steps of a run on its device, with a method of its own, and leaves nothing behind but the answer."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack

import torch
from lightning_fabric import Fabric

from fewmask.data.batch import Batch, Unlabeled
from fewmask.data.loader import Draws, StepBatches
from fewmask.data.pool import PicturePool
from fewmask.ops.draw import Purpose, seed_at, seed_draws
from fewmask.recipe import Recipe
from fewmask.training.build import new_method
from fewmask.training.capture import WARM_UP, CapturedSteps, can_capture
from fewmask.training.device import fit_to_device, loss_scaler
from fewmask.training.optimizers import build_optimizers, set_rates
from fewmask.training.prepare import TrainingData
from fewmask.training.trainer import Trainer

_EAGER = 2  # steps of the first phase: the first makes the states of the optimizers, and the second has them, too


def try_steps(recipe: Recipe, data: TrainingData, fabric: Fabric) -> None:
    """Takes the first steps of every phase of every stage, with the batches of the run's first step.

    Draws of the run are not touched, because each of its steps seeds them anew. Of the batches of a step, two are
    taken: the gradients of the first are there while the second is computed, and a third needs no more.

    Args:
        recipe: the recipe, with the size of the batches that is to be tried.
        data: the data of the run, with the crops that are to be tried.
        fabric: the device, in one process.

    Raises:
        RuntimeError: among others for too little memory.
    """
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices), ExitStack() as during:
        captures = can_capture(recipe.training, fabric)
        method = new_method(recipe, data)
        optimizers = build_optimizers(method.parameter_groups(), recipe.training, fabric.device if captures else None)
        fit_to_device(method, fabric)
        trainer = Trainer(method, optimizers, recipe.training, fabric, scaler=loss_scaler(fabric))
        if captures:
            captured = CapturedSteps(trainer, lambda _: None)
            during.callback(captured.drop)
            trainer.take = captured
        method.train()
        for index, steps in enumerate(trainer.lengths):
            if steps:
                _try_stage(trainer, data, index, steps, WARM_UP + 1 if captures else 1)
        if devices:
            torch.cuda.synchronize(fabric.device)


def forget(device: torch.device) -> None:
    """Gives the memory of what was tried back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _try_stage(trainer: Trainer, data: TrainingData, index: int, steps: int, each: int) -> None:
    """Takes a few steps of every phase of a stage."""
    stage, method, training = trainer.stages[index], trainer.method, trainer.training
    method.eval()
    with torch.no_grad(), trainer.fabric.autocast():
        method.open(stage, list(_one_picture(data, trainer.fabric.device)))
    method.train()
    draws = Draws(
        training.seed, index, data.crop, training.labeled_batch, training.unlabeled_batch or training.labeled_batch
    )
    batches = StepBatches(data.labeled, data.unlabeled, draws, data.source, held_out=data.held_out)
    read: list[Batch] = [batches[place].to(trainer.fabric.device) for place in range(min(training.accumulate, 2))]
    starts = sorted({0, *(start for start in method.phases(stage.name, steps) if start < steps)})
    for phase, start in enumerate(starts):
        for _ in range(each + (_EAGER - 1 if index == phase == 0 else 0)):
            seed_draws(seed_at(Purpose.STEP, training.seed, index, start, 0), trainer.fabric.device)
            set_rates(trainer.optimizers, stage.rate)
            trainer.take(method.now(start, steps, stage.name), *read)


def _one_picture(data: TrainingData, device: torch.device) -> Iterator[Unlabeled]:
    """A pool with the first of the unlabeled images, which stands for all of them."""
    for images in PicturePool(data.unlabeled, device):
        yield images
        return
