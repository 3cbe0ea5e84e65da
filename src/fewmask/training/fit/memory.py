"""`training.memory=auto`: the recipe of a run with batches, accumulation and crops that its device has memory for."""

from collections import deque
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console

from fewmask.data.ram import free_ram
from fewmask.data.store import MemoryStore, every_picture
from fewmask.errors import UserError
from fewmask.faults import memory_is_full
from fewmask.models.ranks import as_one_rank
from fewmask.recipe import Recipe, changed_settings
from fewmask.say import say
from fewmask.training.device import lone_fabric, num_local_processes
from fewmask.training.fit.ram import added_at_peak
from fewmask.training.fit.search import largest_that_runs, largest_within
from fewmask.training.fit.sizes import Size, sizes_of, with_size
from fewmask.training.fit.trial import forget, try_steps
from fewmask.training.prepare import TrainingData

_SHARE = 0.8  # of the free RAM; the rest is for reading ahead, for scores, and for other programs
_KEPT_FREE = 0.05  # of the memory of a GPU


def fitted(recipe: Recipe, data: TrainingData, fabric: Fabric, console: Console) -> Recipe:
    """The recipe with the largest batches that fit; one line says what was chosen.

    The number of images in a step stays: where a batch does not fit, a step has several smaller ones. The recipe is the
    one that a person would write for these sizes, and the run with it is the same. With several ranks, the first one
    tries for all.

    Raises:
        UserError: not even the smallest crop fits.
    """
    size: Size | None = None
    mistake: UserError | None = None
    if fabric.is_global_zero:
        try:
            with as_one_rank():
                size, needed, free = _largest(recipe, data)
            say(console, _told(recipe, data, size, needed, free))
        except UserError as error:
            mistake = error  # raised when the other ranks know, who would wait otherwise
    size = fabric.broadcast(size)
    if size is None:
        raise mistake or UserError("the first rank found no size that fits", "training.memory")
    return with_size(recipe, size, data.crop)


def _largest(recipe: Recipe, data: TrainingData) -> tuple[Size, int, int]:
    """The size, the bytes that it needs, and those that were free."""
    alone = lone_fabric(recipe.training)
    if alone.device.type not in ("cpu", "cuda"):
        fix = "Set training.labeled_batch and data.crop yourself."
        raise UserError(f"the memory of {alone.device.type} cannot be tried", "training.memory", fix)
    for store in (data.labeled, data.unlabeled, data.source):
        if isinstance(store, MemoryStore):  # what pictures take in RAM is no part of a step
            deque(every_picture(store), maxlen=0)
    sizes = _sizes(recipe, data, alone)
    if alone.device.type == "cuda":
        free = torch.cuda.mem_get_info(alone.device)[0]
        found = largest_that_runs(sizes, lambda size: _peak_on_gpu(recipe, data, alone, size))
    else:
        free = free_ram() // num_local_processes(recipe.training)
        found = largest_within(sizes, lambda size: _peak_in_ram(recipe, data, alone, size), int(_SHARE * free))
    if found is None:
        what = f"not even crops of {_sides(sizes[-1].crop)} fit into the {_gib(free)} that are free"
        raise UserError(what, "training.memory", "Free memory, or take a smaller network.")
    return *found, free


def _sizes(recipe: Recipe, data: TrainingData, alone: Fabric) -> list[Size]:
    """The sizes that the network can learn from; some architectures need two images at once."""
    for fewest in (1, 2):
        sizes = sizes_of(recipe, data.crop, fewest)
        try:
            _try(recipe, data, alone, sizes[-1])
            break
        except UserError:
            if fewest == 2:
                raise
        except RuntimeError as error:
            if not memory_is_full(error):
                raise
            break
        finally:
            forget(alone.device)
    return sizes


def _try(recipe: Recipe, data: TrainingData, alone: Fabric, size: Size) -> None:
    try_steps(with_size(recipe, size, data.crop), data._replace(crop=size.crop), alone)


def _peak_on_gpu(recipe: Recipe, data: TrainingData, alone: Fabric, size: Size) -> int | None:
    """The bytes that PyTorch holds at the peak of the steps; None if there are too few."""
    device = alone.device
    torch.cuda.reset_peak_memory_stats(device)
    try:
        kept_free = torch.empty(int(_KEPT_FREE * torch.cuda.mem_get_info(device)[1]), dtype=torch.uint8, device=device)
        _try(recipe, data, alone, size)
        return torch.cuda.max_memory_reserved(device) - len(kept_free)
    except RuntimeError as error:
        if not memory_is_full(error):
            raise
    finally:
        kept_free = None  # type: ignore[assignment]
        forget(device)
    return None


def _peak_in_ram(recipe: Recipe, data: TrainingData, alone: Fabric, size: Size) -> int:
    """The bytes that the steps add to this process at their peak."""
    try:
        return added_at_peak(lambda: _try(recipe, data, alone, size))
    finally:
        forget(alone.device)


def _told(recipe: Recipe, data: TrainingData, size: Size, needed: int, free: int) -> str:
    """What was chosen, in words and as settings."""
    after = with_size(recipe, size, data.crop)
    chosen = [
        f"{key}={_text(new)}" for key, (_, new) in changed_settings(recipe, after).items() if key != "training.memory"
    ]
    what = " ".join(chosen) if chosen else "the batches and crops of the recipe fit"
    return f"training.memory=auto: {what}. A step needs {_gib(needed)} of the {_gib(free)} that are free."


def _text(value: Any) -> str:
    return f"[{value[0]},{value[1]}]" if isinstance(value, tuple) else str(value)


def _sides(crop: tuple[int, int]) -> str:
    return f"{crop[1]} x {crop[0]} (width x height)"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
