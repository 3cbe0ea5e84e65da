"""All that a step changes, kept aside and put back: weights, statistics, bank, momenta, rates, scale, random states."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from fewmask.training.trainer import Trainer


class Snapshot:
    """The state of a training at this moment; its values are kept in the memory of the machine.

    Args:
        trainer: the trainer whose method, optimizers and scaler are kept.
    """

    def __init__(self, trainer: "Trainer") -> None:
        self._optimizers = trainer.optimizers
        self._states = [{id(state): set(state) for state in each.state.values()} for each in trainer.optimizers]
        self._slots = [(name, owner, key, owner[key]) for name, owner, key in _slots(trainer)]
        self._values = [tensor.detach().to("cpu", copy=True) for *_, tensor in self._slots]
        devices = {tensor.get_device() for *_, tensor in self._slots if tensor.is_cuda}
        self._random = torch.random.fork_rng(devices)
        self._random.__enter__()

    @torch.no_grad()
    def restore(self) -> str | None:
        """Puts everything back. Returns the name of a tensor that had been replaced by another one, if there is one."""
        replaced = None
        for (name, owner, key, tensor), value in zip(self._slots, self._values, strict=True):
            if owner.get(key) is not tensor:
                owner[key], replaced = tensor, replaced or name
            tensor.copy_(value)
        for optimizer, known in zip(self._optimizers, self._states, strict=True):
            for parameter, state in list(optimizer.state.items()):
                for key in set(state) - known.get(id(state), set()):
                    del state[key]
                if not state:
                    del optimizer.state[parameter]
        self._random.__exit__(None, None, None)
        return replaced


def _slots(trainer: "Trainer") -> list[tuple[str, Any, Any]]:
    """The name, the owner and the key of every tensor of the state."""
    found: list[tuple[str, Any, Any]] = []
    for path, module in trainer.method.named_modules():
        for owner in (module._parameters, module._buffers):
            found += [(f"{path}.{key}".lstrip("."), owner, key) for key in owner]
    for optimizer in trainer.optimizers:
        found += [("a state of an optimizer", state, key) for state in optimizer.state.values() for key in state]
        found += [("a rate", group, "lr") for group in optimizer.param_groups]
    if trainer.scaler is not None:
        found += [("the scale of the loss", vars(trainer.scaler), key) for key in ("_scale", "_growth_tracker")]
    return [slot for slot in found if isinstance(slot[1].get(slot[2]), Tensor)]
