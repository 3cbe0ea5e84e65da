"""Ends a run in one line when a number is no longer finite, before the number reaches a log or a checkpoint."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fewmask.errors import UserError
from fewmask.run.folder import RunFolder


def check_finite(losses: Mapping[str, Tensor], method: nn.Module | None, step: int, run: RunFolder) -> None:
    """Raises UserError if a loss is not finite, or a weight of the method, which is given if it is to be saved."""
    bad = [f"the loss term {name}" for name, loss in losses.items() if not torch.isfinite(loss)]
    if method is not None and not torch.stack([weights.isfinite().all() for weights in method.parameters()]).all():
        bad.append("a weight")
    if bad:
        raise UserError(
            f"{bad[0]} is no longer a finite number at step {step}",
            run.path,
            "Lower training.learning_rate, or try --set training.precision=32.",
        )
