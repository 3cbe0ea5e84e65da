"""The teacher of several methods: by averaged statistics, or as released by those of its batch."""

from typing import Any

import pytest
import torch

from contract import build
from fewmask.methods import METHODS
from fewmask.models.build import NetConfig

BY_NAME = {method.name: method for method in METHODS}


@pytest.mark.parametrize("name", ["classmix", "reco", "u2pl"])
@pytest.mark.parametrize("by_batch", [False, True])
def test_a_teacher_normalizes_by_its_batch_only_if_told(tiny_net: NetConfig, name: str, by_batch: Any) -> None:
    method = build(BY_NAME[name], tiny_net, teacher_on_batch_statistics=by_batch)
    images = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        alone, together = method.teacher(images[:2]).logits, method.teacher(images).logits[:2]
    assert torch.allclose(alone, together, atol=1e-4) != by_batch
    averages = [method.average, *([method.average_head] if name == "u2pl" else [])]
    assert [(each.train_mode, each.follow_buffers) for each in averages] == [(by_batch, not by_batch)] * len(averages)
