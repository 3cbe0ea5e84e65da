"""A committee: the mean of its members' probabilities, on one grid or on several."""

import copy
from typing import Any

import pytest
import torch

from fewmask.models.build import build_net
from fewmask.models.committee import Committee
from fewmask.models.segnet import SegNet


@pytest.fixture(scope="module")
def members(tiny_net: Any) -> list[SegNet]:
    torch.manual_seed(0)
    return [build_net(tiny_net, 4).eval() for _ in range(3)]


@pytest.fixture(scope="module")
def coarse(tiny_net: Any) -> SegNet:
    """A network with another stride and another grid."""
    torch.manual_seed(1)
    net = build_net(tiny_net.model_copy(update={"arch": "deeplabv3plus", "options": {}}), 4)
    return net.eval()


@torch.no_grad()
def test_members_on_one_grid_are_averaged_there(members: list[SegNet]) -> None:
    images = torch.rand(2, 3, 41, 50)
    committee = Committee(members)
    mean = torch.stack([net.cells(images).softmax(dim=1) for net in members]).mean(dim=0)
    torch.testing.assert_close(committee.cells(images).exp(), mean)
    torch.testing.assert_close(committee(images).logits, members[0].at_size(mean.log(), (41, 50)))
    assert committee.stride == members[0].stride


@torch.no_grad()
def test_members_on_several_grids_are_averaged_on_pixels(members: list[SegNet], coarse: SegNet) -> None:
    images = torch.rand(2, 3, 41, 50)
    committee = Committee([members[0], coarse])
    assert members[0].stride < coarse.stride == committee.stride
    mean = torch.stack([net(images).logits.softmax(dim=1) for net in (members[0], coarse)]).mean(dim=0)
    torch.testing.assert_close(committee(images).logits.exp(), mean)
    cells = committee.cells(images)
    assert cells.shape[-2:] == (48, 64)
    assert torch.equal(cells[..., :41, :50], committee(images).logits)


@torch.no_grad()
def test_a_committee_of_copies_is_the_network(members: list[SegNet]) -> None:
    images = torch.rand(1, 3, 32, 32)
    committee = Committee([members[0], copy.deepcopy(members[0])])
    alone = members[0](images).logits.softmax(dim=1)
    torch.testing.assert_close(committee(images).logits.exp(), alone)
