"""The optimizers of a run: the recipe's optimizer, and one for every group of parameters that brings its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from fewmask.methods import Group
from fewmask.recipe import TrainingConfig

_RATES = {"adamw": 5e-4, "sgd": 1e-2}
_DECAYS = {"adamw": 1e-2, "sgd": 5e-4}


def build_optimizers(
    groups: Sequence[Group], training: TrainingConfig, captured_on: torch.device | None = None
) -> list[Optimizer]:
    """The recipe's optimizer, whose last group is `new`, then the others. Groups hold their rate as `initial_lr`.

    Args:
        groups: the groups of a method.
        training: the recipe's optimizer and its rates.
        captured_on: the device on which steps are captured. There, rates are tensors, so that a recorded step can be
            replayed with another rate, and every optimizer is one kernel.
    """
    shared = [group for group in groups if group.optimizer is None and group.parameters]
    own = [group for group in groups if group.optimizer is not None and group.parameters]
    return [_recipes(shared, training, captured_on), *(_adam(group, captured_on) for group in own)]


def set_rates(optimizers: Sequence[Optimizer], share: float) -> float:
    """Sets every group to this share of its rate; returns the rate of the recipe's last group, which the log shows."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(group["initial_lr"] * share)
            else:
                group["lr"] = group["initial_lr"] * share
    return float(optimizers[0].param_groups[-1]["initial_lr"] * share)


@contextmanager
def recordable(optimizers: Sequence[Optimizer]) -> Iterator[None]:
    """Inside, optimizers agree to be recorded. Outside they do not, because they would warn in every other step."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups if "capturable" in group]
    try:
        for group in groups:
            group["capturable"] = True
        yield
    finally:
        for group in groups:
            group["capturable"] = False


def clip_gradients(optimizer: Optimizer, largest: float) -> None:
    """Scales all gradients of an optimizer down by one factor so that their norm is at most `largest`."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, largest)


def _recipes(groups: Sequence[Group], training: TrainingConfig, captured_on: torch.device | None) -> Optimizer:
    kind = training.optimizer
    rate = training.learning_rate or _RATES[kind]
    decay = _DECAYS[kind] if training.weight_decay is None else training.weight_decay
    blocks = []
    for group in groups:
        share = group.rate * (training.encoder_rate if group.name == "encoder" else 1.0)
        blocks.append(_block(group, rate * share, captured_on))
    if kind == "adamw":
        return AdamW(blocks, weight_decay=decay, fused=True)
    if captured_on is None:
        return SGD(blocks, lr=rate, momentum=training.momentum, weight_decay=decay)
    optimizer = SGD(blocks, lr=rate, momentum=training.momentum, weight_decay=decay, fused=True)
    optimizer.register_step_pre_hook(_start_momenta)
    return optimizer


def _start_momenta(optimizer: Optimizer, *_: object) -> None:
    """Gives momenta of 0 to parameters with a first gradient, as heads have it after the first step of a run.

    Fused SGD starts momenta only where it knows none yet.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if group["momentum"] and parameter.grad is not None and "momentum_buffer" not in optimizer.state[parameter]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _adam(group: Group, captured_on: torch.device | None) -> Optimizer:
    assert group.optimizer is not None
    rate = group.optimizer.learning_rate * group.rate
    return Adam([_block(group, rate, captured_on)], betas=group.optimizer.betas, fused=True)


def _block(group: Group, rate: float, captured_on: torch.device | None) -> dict[str, Any]:
    held = rate if captured_on is None else torch.tensor(rate, device=captured_on)
    return {"params": group.parameters, "lr": held, "initial_lr": rate}
