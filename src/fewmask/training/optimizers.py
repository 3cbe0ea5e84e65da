"""The optimizers of a run: the recipe's optimizer, and one for every group of parameters that brings its own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

from fewmask.methods import Group
from fewmask.recipe import TrainingConfig

_RATES = {"adamw": 5e-4, "sgd": 1e-2}
_DECAYS = {"adamw": 1e-2, "sgd": 5e-4}


def build_optimizers(groups: Sequence[Group], training: TrainingConfig) -> list[Optimizer]:
    """The recipe's optimizer, whose last group is `new`, then the others. Groups hold their rate as `initial_lr`."""
    shared = [group for group in groups if group.optimizer is None and group.parameters]
    own = [group for group in groups if group.optimizer is not None and group.parameters]
    return [_recipes(shared, training), *(_adam(group) for group in own)]


def set_rates(optimizers: Sequence[Optimizer], share: float) -> float:
    """Sets every group to this share of its rate; returns the rate of the recipe's last group, which the log shows."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share
    return float(optimizers[0].param_groups[-1]["lr"])


def clip_gradients(optimizer: Optimizer, largest: float) -> None:
    """Scales all gradients of an optimizer down by one factor so that their norm is at most `largest`."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, largest)


def _recipes(groups: Sequence[Group], training: TrainingConfig) -> Optimizer:
    kind = training.optimizer
    rate = training.learning_rate or _RATES[kind]
    decay = _DECAYS[kind] if training.weight_decay is None else training.weight_decay
    blocks = []
    for group in groups:
        share = group.rate * (training.encoder_rate if group.name == "encoder" else 1.0)
        blocks.append(_block(group, rate * share))
    if kind == "adamw":
        return AdamW(blocks, weight_decay=decay, fused=True)
    # Not fused: the fused form breaks if a parameter's first gradient comes after the first step, as with the heads.
    return SGD(blocks, lr=rate, momentum=training.momentum, weight_decay=decay)


def _adam(group: Group) -> Optimizer:
    assert group.optimizer is not None
    rate = group.optimizer.learning_rate * group.rate
    return Adam([_block(group, rate)], betas=group.optimizer.betas, fused=True)


def _block(group: Group, rate: float) -> dict[str, Any]:
    return {"params": group.parameters, "lr": rate, "initial_lr": rate}
