"""Runs a network in train or eval mode, and then returns it to the mode that it was in."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Inside, the module normalizes with its running statistics, which stay the same; then its mode is restored."""
    with in_mode(module, training=False):
        yield


@contextmanager
def in_mode(module: nn.Module, training: bool) -> Iterator[None]:
    """Inside, the module is in the given mode (training normalizes by the batch); then its mode is restored."""
    mode = module.training
    module.train(training)
    try:
        yield
    finally:
        module.train(mode)
