"""Reading a network in training without leaving a trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """It normalizes with its running statistics, which stand still; afterwards it is in the mode it was in."""
    mode = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(mode)
