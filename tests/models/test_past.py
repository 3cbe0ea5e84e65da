"""Past states of a network predict as the network did then, and are drawn with random weights."""

import copy
from typing import Any

import pytest
import torch

from contract import nudge
from fewmask.models.build import NetConfig, build_net
from fewmask.models.past import PastNetworks, random_mixture


def test_a_slot_predicts_as_the_network_did_when_it_was_kept(tiny_net: NetConfig) -> None:
    net, images = build_net(tiny_net, 4), torch.rand(2, 3, 32, 32)
    past, before, kept = PastNetworks(net, 3), copy.deepcopy(net.state_dict()), []
    for slot in (2, 0):
        nudge(net)
        net(images)  # moves BatchNorm's statistics
        past.keep(net, torch.tensor(slot))
        kept.append(copy.deepcopy(net).eval()(images).logits)
    now = copy.deepcopy(net.state_dict())
    for slot, expected in zip((2, 0), kept, strict=True):
        found = past.logits(net, torch.tensor(slot), images)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert not found.requires_grad
    assert not torch.allclose(kept[0], kept[1], atol=1e-2)
    assert net.training
    assert all(torch.equal(value, now[name]) for name, value in net.state_dict().items())
    assert any(not torch.equal(value, before[name]) for name, value in now.items())
    assert not past.rows[1].any()


def mixtures(available: list[bool], most: int, draws: int = 800) -> Any:
    """Weights by slot [draws slots] of many draws."""
    found = torch.zeros(draws, len(available))
    for row in found:
        row.index_add_(0, *random_mixture(torch.tensor(available), most))
    return found


def test_one_to_three_available_slots_are_drawn_evenly_with_uniform_weights() -> None:
    weights = mixtures([True, False, True, True, True], 3)
    assert weights.sum(dim=1).tolist() == pytest.approx([1.0] * 800, abs=1e-5)
    assert not weights[:, 1].any()
    drawn = weights > 0
    numbers = drawn.sum(dim=1)
    assert numbers.bincount().div(800).tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3], abs=0.07)
    assert drawn.float().mean(dim=0).tolist() == pytest.approx([0.5, 0, 0.5, 0.5, 0.5], abs=0.07)
    of_two = weights[numbers == 2].amax(dim=1)  # of two Dirichlet(1, 1) weights the larger is uniform in 0.5..1
    assert of_two.mean().item() == pytest.approx(0.75, abs=0.04)


def test_all_are_drawn_if_fewer_are_available_and_none_weighs_where_none_is() -> None:
    few = mixtures([False, True, False], 2, draws=20)
    assert few.tolist() == [pytest.approx([0.0, 1.0, 0.0])] * 20
    assert not mixtures([False, False, False], 2, draws=20).any()
