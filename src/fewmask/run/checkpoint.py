"""Checkpoints that are whole or absent: written under a temporary name, synced, renamed; then old ones are deleted."""

import errno
import hashlib
import io
import os
import re
import shutil
from collections.abc import Sequence
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save as save_tensors
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from fewmask.errors import UserError, in_command
from fewmask.recipe import Recipe, changed_settings, read_recipe, recipe_yaml
from fewmask.run.atomic import write_bytes, write_text
from fewmask.run.files import damaged, read_bytes, read_tensors, read_text
from fewmask.run.folder import RunFolder
from fewmask.run.moments import fitting_state

_FREE = (  # what a resumed run may change: places of files, device, speed, and what it reports
    "data.root",
    "data.labels",
    "data.train_list",
    "data.val_list",
    "data.test_list",
    "data.held_out",
    "source.root",
    "source.train_list",
    "data.cache",
    "data.workers",
    "training.device",
    "training.precision",
    "training.capture",
    "training.compile",
    "training.checkpoint_every",
    "training.log_every",
    "training.score_every",
    "training.feature_picture",
    "training.report",
    "method.alarm_excess",
)


_SUMS = "SHA256SUMS"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Position(NamedTuple):
    """How far a run is: this many steps of this stage are done."""

    stage: int = 0
    step: int = 0


def save_checkpoint(
    run: RunFolder,
    method: nn.Module,
    optimizers: Sequence[Optimizer],
    position: Position,
    recipe: Recipe,
    scaler: dict[str, Any] | None = None,
) -> Path:
    """Writes weights, optimizers, position, recipe and, if the loss is scaled, the state of its scaler.

    If the disk is full, the last checkpoint is kept, and a UserError says so.
    """
    final = run.checkpoints / f"stage{position.stage}-step{position.step:08d}"
    temporary = run.checkpoints / f".{final.name}.part"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        run.checkpoints.mkdir(exist_ok=True)  # not its parents: a run folder that was deleted is not made anew
        temporary.mkdir()
        write_bytes(temporary / "method.safetensors", state_bytes(method))
        buffer = io.BytesIO()
        states = [optimizer.state_dict() for optimizer in optimizers]
        torch.save({"optimizers": states, "position": tuple(position), "scaler": scaler}, buffer)
        write_bytes(temporary / "training.pt", buffer.getvalue())
        write_text(temporary / "recipe.yaml", recipe_yaml(recipe))
        write_text(temporary / _SUMS, _sums(temporary))
        if not final.exists():
            temporary.rename(final)
            _sync_folder(run.checkpoints)
    except OSError as error:
        raise cannot_write(run, "a checkpoint", error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _checkpoints(run)[:-1]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def latest_checkpoint(run: RunFolder) -> Path | None:
    """The newest whole checkpoint; None before the first one."""
    found = _checkpoints(run)
    return found[-1] if found else None


def check_recipe(run: RunFolder, recipe: Recipe) -> None:
    """Raises UserError if the run has a checkpoint of another recipe, because its weights or schedule would not fit."""
    checkpoint = latest_checkpoint(run)
    if checkpoint is None:
        return
    file = checkpoint / "recipe.yaml"
    if not file.is_file():
        raise damaged(file, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    for key, (old, new) in changed_settings(read_recipe(file), recipe).items():
        if key not in _FREE:
            raise UserError(
                f"{key} is {new!r}, but the run was started with {old!r}",
                run.recipe_file,
                "Set it back to go on, or start another run with another --out.",
            )


def load_checkpoint(
    path: Path, method: nn.Module, optimizers: Sequence[Optimizer], scaler: GradScaler | None = None
) -> Position:
    """Restores weights, optimizers and scaler in place, and returns the position of the run.

    Raises:
        UserError: a file is damaged, was written by another version, or holds a state that does not fit.
    """
    _check_sums(path)
    load_state(path / "method.safetensors", method)
    file = path / "training.pt"
    try:
        training = torch.load(file, map_location="cpu", weights_only=True)
        states, position = training["optimizers"], Position(*map(index, training["position"]))
        if min(position) < 0 or len(states) != len(optimizers):
            raise ValueError("it is of another method or another version of fewmask")
        for optimizer, state in zip(optimizers, states, strict=True):
            optimizer.load_state_dict(fitting_state(optimizer, state))
        if scaler is not None and training.get("scaler"):
            scaler.load_state_dict(training["scaler"])
    except Exception as error:  # for a broken file, or one of another version, the reader raises nearly anything
        raise damaged(file, error) from None
    return position


def cannot_write(run: RunFolder, what: str, error: OSError) -> UserError:
    """The error for a person when a file cannot be written: what is lost, what is kept, and how to go on."""
    last = latest_checkpoint(run)
    kept = f"the last checkpoint, {last.name}, is intact" if last else "there is no checkpoint yet"
    remedy = "Free some space" if error.errno in _FULL else "Mend this"
    fix = f"{remedy}, then: fewmask train --resume {in_command(run.path)}"
    if not run.path.exists():
        kept, fix = "the run folder is gone", "Put it back, or train anew with another --out."
    return UserError(f"{what} could not be written ({error.strerror or error}); {kept}", run.path, fix)


def state_bytes(module: nn.Module) -> bytes:
    """The module's parameters and buffers in the safetensors format."""
    return save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()})


def load_state(path: Path, module: nn.Module) -> None:
    """Restores in place what `state_bytes` returned."""
    tensors = read_tensors(path)
    try:
        module.load_state_dict(tensors)
    except RuntimeError:
        raise UserError(
            "these weights do not fit the network of the recipe",
            path,
            "Was recipe.yaml or dataset.yaml of the run changed, or fewmask? Set it back to what it was trained with.",
        ) from None


def _sums(folder: Path) -> str:
    """The checksums of the files that nobody edits, as `sha256sum` writes and checks them."""
    files = (folder / name for name in ("method.safetensors", "training.pt"))
    return "".join(f"{hashlib.sha256(read_bytes(file)).hexdigest()}  {file.name}\n" for file in files)


def _check_sums(folder: Path) -> None:
    """Raises UserError if a file is not as it was written; a checkpoint of an older version has no checksums."""
    if not (folder / _SUMS).exists():
        return
    written = read_text(folder / _SUMS).splitlines()
    for line in _sums(folder).splitlines():
        if line not in written:
            file = folder / line.split()[-1]
            raise damaged(file, ValueError("it is not as it was written: its checksum differs"))


def _checkpoints(run: RunFolder) -> list[Path]:
    found = run.checkpoints.glob("stage*-step*")
    return sorted(found, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])


def _sync_folder(path: Path) -> None:
    """Makes a rename in the folder durable, if the system can do this."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
