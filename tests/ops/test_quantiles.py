"""Quantiles of the values that count, against NumPy's."""

import numpy as np
import pytest
import torch

from fewmask.ops.quantiles import quantiles


@pytest.mark.parametrize("num_counted", [1, 2, 17])
def test_quantiles_are_those_of_numpy(num_counted: int) -> None:
    values, counted = torch.randn(3, 20), torch.zeros(60, dtype=torch.bool)
    counted[torch.randperm(60)[:num_counted]] = True
    counted, shares = counted.view(3, 20), torch.tensor([0.0, 0.13, 0.5, 0.8, 1.0])
    expected = np.quantile(values[counted].double().numpy(), shares.double().numpy())
    assert quantiles(values, counted, shares).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_where_nothing_counts_a_quantile_is_infinite() -> None:
    found = quantiles(torch.randn(4), torch.zeros(4, dtype=torch.bool), torch.tensor([0.2, 1.0]))
    assert found.tolist() == [torch.inf, torch.inf]
