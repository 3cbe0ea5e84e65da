"""The margin of a prediction by hand: right, wrong, undecided, ignored, and of a single pixel."""

import pytest
import torch

from fewmask.ops.margin import margin
from fewmask.shapes import IGNORE


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_margin_is_the_lead_of_the_label(dtype: torch.dtype) -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.5, 0.5, 0.0]])
    logits = probabilities.clamp(min=1e-6).log().T.reshape(1, 3, 1, 4).to(dtype)
    found = margin(logits, torch.tensor([[[0, 2, 0, 2]]]))
    assert found.dtype == torch.float32
    assert found.flatten().tolist() == pytest.approx([0.5, -0.2, 0.0, -0.5], abs=2e-3)


def test_ignored_pixels_have_a_finite_margin() -> None:
    assert margin(torch.zeros(1, 2, 1, 1), torch.full((1, 1, 1), IGNORE)).isfinite().all()
