"""The twin that benchmarks/step.py compares a step with: it computes the same, or the comparison means nothing."""

from typing import Any

import pytest
import torch

from contract import OFF, build, toy_batch, train
from fewmask.methods import ClassBankMethod
from fewmask.models.build import NetConfig
from twin import TwinClassBank

SETTINGS: dict[str, Any] = {"weak": OFF, "strong": OFF, "num_labeled": 4}


def test_a_run_of_the_twin_has_the_losses_of_the_method(tiny_net: NetConfig) -> None:
    batch = toy_batch(ClassBankMethod)
    found, expected = (
        list(train(build(kind, tiny_net, **SETTINGS), batch, 10)) for kind in (TwinClassBank, ClassBankMethod)
    )
    assert expected[-1]["contrast_labeled"] > 0
    for own, other in zip(found, expected, strict=True):
        assert own == pytest.approx(other, rel=1e-3, abs=1e-6)


def test_the_twins_bank_holds_the_same_rows(tiny_net: NetConfig) -> None:
    batch, methods = toy_batch(ClassBankMethod), []
    for kind in (TwinClassBank, ClassBankMethod):
        methods.append(build(kind, tiny_net, **SETTINGS))
        for _ in train(methods[-1], batch, 10):
            pass
    twin, method = methods
    assert method.contrast.bank.filled.any()
    for label, array in enumerate(twin.contrast.arrays):
        rows = method.contrast.bank.rows[label, : method.contrast.bank.filled[label]]
        assert len(rows) == len(array)
        pairs = (rows[rows[:, 0].argsort()], torch.from_numpy(array[array[:, 0].argsort()]))
        torch.testing.assert_close(*pairs, rtol=1e-2, atol=1e-4)
