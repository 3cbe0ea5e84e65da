"""Starts a training from a recipe in a new run folder, or goes on with the run in an old one."""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from pathlib import Path

from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import track
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from fewmask.data.store import MemoryStore, Picture, every_picture
from fewmask.errors import UserError
from fewmask.methods import Method
from fewmask.recipe import Recipe, with_absolute_paths
from fewmask.run.atomic import write_bytes
from fewmask.run.checkpoint import (
    Position,
    cannot_write,
    check_recipe,
    latest_checkpoint,
    load_checkpoint,
    state_bytes,
)
from fewmask.run.files import read_bytes
from fewmask.run.folder import Beginning, RunFolder, check_data_is_there
from fewmask.run.validation import ValScore, selected_val_score, selects, val_scores_so_far
from fewmask.say import say, shows_bars
from fewmask.training.build import build_method
from fewmask.training.capture import CapturedSteps, can_capture
from fewmask.training.compiled import compile_networks, compiler_is_there
from fewmask.training.device import fit_to_device, launch_fabric, loss_scaler
from fewmask.training.fit import fitted
from fewmask.training.hooks.alarms import Alarms
from fewmask.training.hooks.checkpoints import Checkpoints
from fewmask.training.hooks.feature_picture import FeaturePicture
from fewmask.training.hooks.forecast import Forecast
from fewmask.training.hooks.journal import Journal
from fewmask.training.hooks.validation import Validation
from fewmask.training.likeness import compare_images
from fewmask.training.optimizers import build_optimizers
from fewmask.training.prepare import TrainingData, prepare_data
from fewmask.training.trainer import Trainer, stage_lengths
from fewmask.use.device import enough_memory

_RESTORE = "Restore the data to go on, or start another run with another --out."


def train_recipe(
    recipe: Recipe, out: Path, console: Console | None = None, baseline: Callable[[Recipe], Recipe] | None = None
) -> RunFolder:
    """Trains by the recipe in the new folder `out`, which then holds the finished model.

    Args:
        recipe: the recipe.
        out: the folder.
        console: where to print.
        baseline: makes the recipe of a baseline from that of the run. The folder then holds the run of the baseline
            too, which `resume_run` trains.
    """
    console = console or Console(stderr=True)
    fabric = launch_fabric(recipe.training)
    recipe = with_absolute_paths(recipe)
    if fabric.world_size > 1:  # the batches depend on this number
        recipe = on_devices(recipe, fabric.world_size)
    run = RunFolder(out)
    recipe, data = prepared(recipe, run, fabric, console)
    method = build_method(recipe, data)
    _check_long_enough(recipe, method)
    beginning = Beginning(recipe, data.classes, data.partition, data.source_names)
    beside = None if baseline is None else _beginning(with_absolute_paths(baseline(recipe)))
    with run.begun(beginning, beside) if fabric.is_global_zero else nullcontext():
        _train(fabric, recipe, data, method, run, console)
    fabric.barrier()
    return run


def prepared(recipe: Recipe, run: RunFolder, fabric: Fabric, console: Console) -> tuple[Recipe, TrainingData]:
    """The recipe with the sizes that fit, if it asks for them, and the data of the run."""
    data = prepare_data(recipe)
    if recipe.training.memory == "auto":
        run.check_is_free()  # before the steps that are tried, which take a while
        recipe = fitted(recipe, data, fabric, console)
        data = prepare_data(recipe)
    return recipe, data


def resume_run(out: Path, console: Console | None = None) -> RunFolder:
    """Goes on with an interrupted run as if it had never stopped; a finished run is left as it is."""
    run, console = RunFolder(out), console or Console(stderr=True)
    recipe = run.recipe()
    if run.is_finished:
        say(console, f"{out} is finished already.")
        return run
    check_recipe(run, recipe)
    check_data_is_there(run, recipe)
    data = prepare_data(recipe)
    _check_unchanged(run, recipe, data)
    start = recipe
    if latest_checkpoint(run) is not None:  # its weights are used; those of the start may be gone
        net, own = recipe.net.model_copy(update={"weights": "none"}), recipe.method.with_weights(lambda _: "none")
        start = recipe.model_copy(update={"net": net, "method": own})
    fabric = launch_fabric(on_devices(recipe, recipe.training.devices or 1).training)
    with run.claimed() if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero and (run.recipe() != recipe or run.is_finished):
            fix = "Give the same command again, to see what it left."
            raise UserError("another process has trained in this folder meanwhile", run.path, fix)
        _train(fabric, recipe, data, build_method(start, data), run, console)
    fabric.barrier()
    return run


def _beginning(recipe: Recipe) -> Beginning:
    """What a run of this recipe will depend on, after checking that it can be trained."""
    data = prepare_data(recipe)
    _check_long_enough(recipe, build_method(recipe, data))
    return Beginning(recipe, data.classes, data.partition, data.source_names)


def on_devices(recipe: Recipe, count: int) -> Recipe:
    """The recipe with this number of devices."""
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"devices": count})})


def _check_long_enough(recipe: Recipe, method: Method) -> None:
    """Raises UserError if a stage has no step and the run pre-trains or selects; other short trials may skip stages."""
    steps, stages = recipe.training.steps, method.course()
    lengths = stage_lengths([stage.share for stage in stages], steps)
    if 0 in lengths and (selects(recipe) or any(stage.pretrains for stage in stages)):
        what = f"{steps} steps leave none for the stage `{stages[lengths.index(0)].name}`"
        raise UserError(
            what, "training.steps", "Train for more steps, or change the shares or the number of the stages."
        )


def _train(
    fabric: Fabric, recipe: Recipe, data: TrainingData, method: Method, run: RunFolder, console: Console
) -> None:
    """Trains in the folder, which is made, and of which rank 0 keeps other processes out."""
    fabric.barrier()  # the other ranks wait until the folder is made
    if not fabric.is_global_zero:
        console = Console(quiet=True)
    _fill_caches(data, console)
    unlabeled = 0 if data.unlabeled is None else len(data.unlabeled)
    source = "" if data.source is None else f", {len(data.source)} of a source domain"
    held_out = "" if data.held_out is None else f", {len(data.held_out)} more with masks kept from learning"
    crop = f"{data.crop[1]} x {data.crop[0]} (width x height)"
    say(
        console,
        f"{recipe.method.name}: {len(data.labeled)} labeled and {unlabeled} unlabeled images{source}{held_out}, "
        f"{len(data.classes)} classes, crops of {crop}, {recipe.training.steps} steps on {fabric.device} "
        f"-> {run.path}",
    )
    if data.missing:
        say(console, f"No mask to learn from holds {', '.join(data.missing)}: it will not be learned.", "yellow")
    for remark in data.remarks:
        say(console, remark, "yellow")
    _run_trainer(fabric, recipe, data, method, run, console)
    if fabric.is_global_zero:
        _write_model(run, method, recipe)


@enough_memory("Free it, or start a run with a smaller training.labeled_batch, training.unlabeled_batch or data.crop.")
def _run_trainer(
    fabric: Fabric, recipe: Recipe, data: TrainingData, method: Method, run: RunFolder, console: Console
) -> None:
    """Trains from the newest checkpoint of the run, or from the start, to the end of the last stage.

    Raises:
        Interrupted: the run was asked to stop, and its checkpoint is saved.
        UserError: the loss stopped being finite, or a file could not be written.
    """
    training, scaler, captures = recipe.training, loss_scaler(fabric), can_capture(recipe.training, fabric)
    optimizers = build_optimizers(method.parameter_groups(), training, fabric.device if captures else None)
    fit_to_device(method, fabric)
    start = _restore(fabric, run, method, optimizers, scaler)
    trainer = Trainer(method, optimizers, training, fabric, scaler=scaler)
    trainer.position = start
    so_far: list[ValScore] = []
    if fabric.is_global_zero:
        if start == Position():
            for remark in compare_images(method.student, data, recipe.method.name):
                say(console, remark, "yellow")
        names = data.classes.names
        so_far = val_scores_so_far(run, recipe, trainer.done, lambda text: say(console, text, "yellow"))
        trainer.hooks += [Journal(run, names, training.steps, trainer.done, console), Alarms(names, console)]
        trainer.hooks.append(Forecast(console))
    trainer.hooks.append(Validation(run, data.folder, recipe, so_far))
    if training.feature_picture:
        trainer.hooks.append(FeaturePicture(run, data, recipe, console))
    trainer.hooks.append(Checkpoints(run, recipe))
    with ExitStack() as during:
        if captures:
            captured = CapturedSteps(trainer, lambda line: say(console, line, "yellow"), rehearse=not training.compile)
            during.callback(captured.drop)  # else its memory stays until the collector of Python finds it
            trainer.take = captured
        if training.compile:
            compile_networks(method)
            during.enter_context(compiler_is_there())
        trainer.run(data)


def _restore(
    fabric: Fabric, run: RunFolder, method: Method, optimizers: list[Optimizer], scaler: GradScaler | None
) -> Position:
    """Every rank loads the checkpoint that rank 0 finds to be the newest."""
    newest = latest_checkpoint(run) if fabric.is_global_zero else None
    name = fabric.broadcast(None if newest is None else newest.name)
    if name is None:
        return Position()
    checkpoint = run.checkpoints / name
    if not checkpoint.is_dir():
        fix = "Keep the run folder where all processes of the run can read it."
        raise UserError(f"rank {fabric.global_rank} does not find the checkpoint of rank 0", checkpoint, fix)
    return load_checkpoint(checkpoint, method, optimizers, scaler)


def _fill_caches(data: TrainingData, console: Console) -> None:
    """Reads the pictures that stay in RAM, and shows a progress bar."""
    kept = ("masks", data.labeled), ("held-out masks", data.held_out)
    for what, store in (*kept, ("unlabeled images", data.unlabeled), ("the source", data.source)):
        if isinstance(store, MemoryStore):
            read: Iterable[Picture] = every_picture(store)
            if shows_bars(console):
                read = track(read, f"reading {what}", len(store), console=console, transient=True)
            deque(read, maxlen=0)


def _write_model(run: RunFolder, method: Method, recipe: Recipe) -> None:
    selected = selected_val_score(run, recipe)
    try:
        for name, net in reversed(method.networks().items()):  # shipped one last, because its presence ends the run
            content = state_bytes(net) if selected is None else read_bytes(run.best_file(name, selected["step"]))
            write_bytes(run.model_file(name), content)
    except OSError as error:
        raise cannot_write(run, "the model", error) from None


def _check_unchanged(run: RunFolder, recipe: Recipe, data: TrainingData) -> None:
    """Raises UserError if the classes, the encoding of the masks or the images changed since the run was started."""
    if data.classes != run.classes():
        raise UserError(
            "the classes or the way masks write them are not those that the run was started with",
            data.folder.root,
            _RESTORE,
        )
    before, after = set(run.labeled_names()), {sample.name for sample in data.partition.labeled}
    if before != after:
        gone, new = sorted(before - after), sorted(after - before)
        what = f"{gone[0]} was labeled when the run was started" if gone else f"{new[0]} has been labeled since"
        raise UserError(f"the labeled images have changed: {what}", data.folder.root, _RESTORE)
    unlabeled = [path.name for path in data.partition.unlabeled] if recipe.needs.unlabeled else None
    _check_same_images("unlabeled images", run.unlabeled_names(), unlabeled, data.folder.root)
    root = "" if recipe.source is None else recipe.source.root
    _check_same_images("images of the source", run.source_names(), data.source_names, root)


def _check_same_images(what: str, before: list[str] | None, after: list[str] | None, root: object) -> None:
    """Raises UserError if the images differ. A list is None if it does not matter or if an old run did not keep it."""
    if before is None or after is None or before == after:
        return
    changed = ", ".join(sorted({*before} ^ {*after})[:3]) or "their order, which their folders make"
    raise UserError(f"the {what} have changed: {changed}", root, _RESTORE)
