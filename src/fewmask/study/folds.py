"""Cross-validation where there is no val: each labeled image is scored once, by a model that has not seen it."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console

from fewmask.data.folder import Sample
from fewmask.data.folds import deal_to_folds
from fewmask.data.partition import draw_key, presence_of
from fewmask.errors import UserError
from fewmask.recipe import Recipe, with_absolute_paths
from fewmask.run.folder import RunFolder
from fewmask.run.folds import FoldsFolder, Plan
from fewmask.run.validation import selects
from fewmask.say import say
from fewmask.study.baseline import baseline_of, check_has_baseline, val_scores
from fewmask.study.fold_scores import means_of, print_means
from fewmask.training.device import launch_fabric
from fewmask.training.prepare import TrainingData
from fewmask.training.start import on_devices, prepared, resume_run, train_recipe


def train_folds(
    recipe: Recipe,
    out: Path,
    count: int,
    baseline: bool = False,
    final: bool = True,
    console: Console | None = None,
) -> RunFolder:
    """Trains `count` models in `out/folds`, each on a part of the labeled images, and scores each on the others.

    Args:
        recipe: the recipe. Its val is not used by the folds.
        out: the run folder of the final model.
        count: the number of folds.
        baseline: whether each fold trains its baseline, too; the gain is of pairs of equal images.
        final: whether a model is trained in `out` at the end, on all labeled images. What the folds tell is about
            models like this one, which have seen a few images less.
        console: where to print.

    Raises:
        UserError: there are too few labeled images, or the recipe does not go with folds.
    """
    console = console or Console(stderr=True)
    _check_goes_with_folds(recipe, count, baseline)
    folds = FoldsFolder(out)
    folds.check_is_free()
    fabric = launch_fabric(recipe.training)
    recipe = with_absolute_paths(recipe)
    if fabric.world_size > 1:
        recipe = on_devices(recipe, fabric.world_size)
    recipe, data = prepared(recipe, RunFolder(out), fabric, console)
    labeled = data.partition.labeled
    if count > len(labeled):
        what = f"{count} folds are asked for, and {len(labeled)} images are labeled"
        raise UserError(what, "--folds", f"Ask for at most {len(labeled)}." if len(labeled) > 1 else "Label another.")
    parts = _dealt(recipe, data, count, console)
    plan = Plan(count, baseline, final, recipe)
    with folds.claimed() if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            folds.check_is_free()  # while no other process can write there
            names = [[sample.name for sample in part] for part in parts]
            others = [[name for other in names if other is not part for name in other] for part in names]
            folds.begin(plan, others, names)
        fabric.barrier()
        return _go_on(plan, folds, fabric, console)


def resume_folds(out: Path, console: Console | None = None) -> RunFolder:
    """Goes on with folds that were stopped; what is done is not done again."""
    folds, console = FoldsFolder(out), console or Console(stderr=True)
    plan = folds.plan()
    fabric = launch_fabric(on_devices(plan.recipe, plan.recipe.training.devices or 1).training)
    with folds.claimed() if fabric.is_global_zero else nullcontext():
        return _go_on(plan, folds, fabric, console)


def _check_goes_with_folds(recipe: Recipe, count: int, baseline: bool) -> None:
    if count < 2:
        raise UserError(f"--folds {count} leaves nothing to score, or nothing to learn from", "--folds", "Take 3 or 5.")
    if baseline:
        check_has_baseline(recipe)
    if recipe.needs.source == "alone":
        what = f"the method {recipe.method.name} learns from no labeled image of the target, so none has to be held out"
        raise UserError(what, "--folds", "Leave it out, and score on train: fewmask evaluate --split train.")
    if recipe.data.held_out is not None:
        raise UserError("data.held_out keeps images from the training already", "--folds", "Leave out one of the two.")
    if selects(recipe):
        what = "training.select=best_val would select on the images that a fold is scored on"
        raise UserError(what, "--folds", "Leave out one of the two.")


def _dealt(recipe: Recipe, data: TrainingData, count: int, console: Console) -> list[list[Sample]]:
    """The labeled images of each fold, and remarks on what their scores cannot tell."""
    labeled = data.partition.labeled
    presence = presence_of(labeled, data.classes)
    seed = recipe.data.split_seed
    order = sorted(range(len(labeled)), key=lambda row: draw_key(seed, labeled[row].name))
    dealt = deal_to_folds(presence, count, order)
    num_folds = torch.stack([presence[rows].any(0) for rows in dealt]).sum(0).tolist()
    for name, number in zip(data.classes.names, num_folds, strict=False):
        if number == 1:
            what = f"{name} is in the masks of one fold alone: the model that is scored on it has never seen it"
            say(console, f"{what}, so its IoU says nothing. Label another image with it.", "yellow")
    num_val = sum(sample.mask is not None for sample in data.folder.val)
    if num_val:
        what = f"val has {num_val} images with masks. The folds neither learn from them nor score them"
        say(console, f"{what}; the final model may be scored on them.", "yellow")
    return [[labeled[row] for row in rows] for rows in dealt]


def _go_on(plan: Plan, folds: FoldsFolder, fabric: Fabric, console: Console) -> RunFolder:
    """Trains and scores what is missing."""
    ours: list[Mapping[str, Any]] = []
    theirs: list[Mapping[str, Any]] = []
    for number in range(1, plan.num_folds + 1):
        run = folds.fold(number)
        say(console, f"Fold {number} of {plan.num_folds}")
        _finish(run, folds.recipe(plan, number), plan.baseline, fabric, console)
        if plan.baseline and not run.baseline.is_finished:
            resume_run(run.baseline.path, console)
        if fabric.is_global_zero:
            ours.append(val_scores(run))  # the held-out images take the place of val
            if plan.baseline:
                theirs.append(val_scores(run.baseline))
        fabric.barrier()
    if fabric.is_global_zero:
        means = means_of(ours, theirs)
        folds.write_scores(means)
        print_means(plan.recipe, means, console)
    final = RunFolder(folds.out)
    if plan.final:
        say(console, f"Final model, on all labeled images -> {final.path}")
        _finish(final, plan.recipe, False, fabric, console)
    return final


def _finish(run: RunFolder, recipe: Recipe, baseline: bool, fabric: Fabric, console: Console) -> None:
    """Trains a run to its end, whether it is new, stopped or finished."""
    is_begun, is_finished = fabric.broadcast((run.is_begun, run.is_finished))  # else ranks may see it at other times
    if is_finished:
        return
    if is_begun:
        resume_run(run.path, console)
    else:
        train_recipe(recipe, run.path, console, baseline_of if baseline else None)
