"""What only a GPU can show: a step of every method there, without a wait of the host, and the same numbers."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from contract import build, last_steps, settled, toy_batch
from fewmask.methods import METHODS
from fewmask.models.build import NetConfig
from fewmask.models.heads import ClassSelectors
from fewmask.ops.contrast import bank_contrast
from grad_of import grad_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@contextmanager
def waits_are_errors() -> Iterator[None]:
    """Within, an operation for which the host waits is an error; PyTorch warns that it does not find all of them."""
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method_type", METHODS, ids=lambda method: method.name)
def test_a_step_and_its_update_never_wait_for_the_gpu(method_type: Any, precision: Any, tiny_net: NetConfig) -> None:
    batch = toy_batch(method_type).to(torch.device("cuda"))
    method = settled(build(method_type, tiny_net).cuda(), batch)
    with waits_are_errors():
        for now in last_steps(method):
            with torch.autocast("cuda", precision, enabled=precision == torch.bfloat16):
                losses = method.step(batch, now).losses
            torch.stack(list(losses.values())).sum().backward()
            method.after_update(now)
    assert all(grad_of(parameter).isfinite().all() for parameter in method.parameters() if parameter.grad is not None)


def test_selectors_and_contrast_are_those_of_the_cpu() -> None:
    selectors = ClassSelectors(3, 16)
    rows, classes, bank = torch.randn(200, 16), torch.randint(0, 4, (200,)), torch.randn(3, 8, 16)
    found = []
    for device in ("cpu", "cuda"):
        own, own_rows = copy.deepcopy(selectors).to(device), rows.to(device, copy=True).requires_grad_()
        weights = own(own_rows, classes.to(device))
        filled, bank_weights = torch.tensor([8, 3, 0], device=device), torch.ones(3, 8, device=device)
        value = bank_contrast(own_rows, classes.to(device), bank.to(device), filled, weights, bank_weights)
        gradients = torch.autograd.grad(value, (own_rows, own.hidden_weight, own.out_weight))
        found.append([tensor.cpu() for tensor in (value, *gradients)])
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-3, atol=1e-5)
