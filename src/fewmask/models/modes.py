"""Reading a network in the other mode than its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """It normalizes with its running statistics, which stand still; afterwards it is in the mode it was in."""
    with in_mode(module, training=False):
        yield


@contextmanager
def in_mode(module: nn.Module, training: bool) -> Iterator[None]:
    """In training it normalizes with the statistics of its batch; afterwards it is in the mode it was in."""
    mode = module.training
    module.train(training)
    try:
        yield
    finally:
        module.train(mode)
