"""The gradient that a backward pass left, which must be there."""

from torch import Tensor


def grad_of(tensor: Tensor) -> Tensor:
    """`tensor.grad`."""
    assert tensor.grad is not None
    return tensor.grad
