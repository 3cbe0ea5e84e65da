"""Checkpoints that are whole or absent: written under a temporary name, synced, renamed; the old one goes last."""

import io
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from torch.optim import Optimizer

from fewmask.engine.run_folder import RunFolder, write_bytes
from fewmask.errors import UserError


class Position(NamedTuple):
    """How far a run is: this many steps of this stage are done."""

    stage: int = 0
    step: int = 0


def save_checkpoint(run: RunFolder, method: nn.Module, optimizer: Optimizer, position: Position) -> Path:
    """Writes weights, optimizer and position; on a full disk the last checkpoint stays and the error says so."""
    final = run.checkpoints / f"stage{position.stage}-step{position.step:08d}"
    temporary = run.checkpoints / f".{final.name}.part"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write_bytes(temporary / "method.safetensors", state_bytes(method))
        buffer = io.BytesIO()
        torch.save({"optimizer": optimizer.state_dict(), "position": tuple(position)}, buffer)
        write_bytes(temporary / "training.pt", buffer.getvalue())
        if not final.exists():
            temporary.rename(final)
            _sync_folder(run.checkpoints)
    except OSError as error:
        last = latest_checkpoint(run)
        kept = f"the last checkpoint, {last.name}, is intact" if last else "there is no earlier one"
        raise UserError(
            f"a checkpoint could not be written ({error.strerror}); {kept}",
            run.path,
            f"Free some space, then: fewmask train --resume {run.path}",
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _checkpoints(run)[:-1]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def latest_checkpoint(run: RunFolder) -> Path | None:
    """The newest whole checkpoint."""
    found = _checkpoints(run)
    return found[-1] if found else None


def load_checkpoint(path: Path, method: nn.Module, optimizer: Optimizer) -> Position:
    """Restores weights and optimizer in place and says where the run was."""
    try:
        method.load_state_dict(load_tensors((path / "method.safetensors").read_bytes()))
        training = torch.load(path / "training.pt", map_location="cpu", weights_only=True)
        optimizer.load_state_dict(training["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"the checkpoint does not fit the recipe beside it ({str(error).splitlines()[0].strip()})",
            path,
            "Was recipe.yaml changed? Resume with the recipe the run was started with.",
        ) from None
    return Position(*training["position"])


def state_bytes(module: nn.Module) -> bytes:
    """The module's parameters and buffers in the safetensors format."""
    return save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()})


def _checkpoints(run: RunFolder) -> list[Path]:
    return sorted(run.checkpoints.glob("stage*-step*"))


def _sync_folder(path: Path) -> None:
    """Makes a rename in the folder durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
