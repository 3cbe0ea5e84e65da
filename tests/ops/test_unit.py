import pytest
import torch
from torch.nn import functional as F

from fewmask.ops.unit import unit
from grad_of import grad_of


@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8), (0, 8)])
def test_values_and_gradients_are_those_of_normalize(shape: tuple[int, ...]) -> None:
    vectors = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(shape, dtype=torch.float64)
    ours, theirs = unit(vectors), F.normalize(vectors, dim=-1)
    assert torch.equal(ours, theirs)
    one, other = (torch.autograd.grad(value, vectors, upstream)[0] for value in (ours, theirs))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_zero_vector_stays_zero_and_its_gradient_is_that_of_normalize() -> None:
    vectors = torch.zeros(1, 4, requires_grad=True)
    upstream = torch.randn(1, 4)
    one, other = (torch.autograd.grad(value(vectors), vectors, upstream)[0] for value in (unit, F.normalize))
    assert not unit(vectors).any()
    torch.testing.assert_close(one, other)


def test_half_precision_is_computed_in_float32_and_its_gradient_goes_back_as_it_came() -> None:
    vectors = torch.randn(3, 256).bfloat16().requires_grad_()
    units = unit(vectors)
    assert torch.equal(units, F.normalize(vectors.float(), dim=1))
    units.sum().backward()
    assert vectors.grad is not None
    assert grad_of(vectors).dtype == torch.bfloat16
