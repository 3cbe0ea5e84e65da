"""DeepLabv2 against the paper's cost, and its classifier against a slow twin."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewmask.models.build import NetConfig, build_net
from fewmask.models.deeplabv2 import DilatedSum
from fewmask.models.image_classifier import ClassGate, ImageClassifier
from fewmask.models.prototypes import prototype_net
from fewmask.models.segnet import SegNet


def random_net(encoder: str, **settings: Any) -> SegNet:
    return build_net(NetConfig(arch="deeplabv2", encoder=encoder, weights="none", **settings), num_classes=19)


@pytest.mark.slow
def test_one_image_costs_what_the_paper_says_within_two_percent() -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        logits, features = random_net("resnet101").eval()(torch.empty(1, 3, 512, 512))
    assert logits.shape == (1, 19, 512, 512)
    assert features.shape == (1, 2048, 64, 64)
    assert counter.get_total_flops() / 1e9 == pytest.approx(372.04, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "dim", "cell"), [("deeplabv2", 2048, 8), ("deeplabv3plus_full", 256, 4)])
def test_logits_of_a_crop_of_321_lie_where_their_cells_look(arch: str, dim: int, cell: int) -> None:
    cells = 320 // cell + 1
    with torch.device("meta"):
        net = build_net(NetConfig(arch=arch, encoder="resnet50", weights="none"), num_classes=2).eval()
        assert net(torch.empty(1, 3, 321, 321)).features.shape == (1, dim, cells, cells)
    one_in_a_cell = torch.zeros(1, 2, cells, cells)
    one_in_a_cell[0, 0, 5, cells - 2] = 1
    row, column = divmod(int(net.at_size(one_in_a_cell, (321, 321))[0, 0].argmax()), 321)
    assert (row, column) == (5 * cell, 320 - cell)


def test_every_block_of_a_stage_has_the_dilation_of_the_stage() -> None:
    stages = random_net("resnet50").network.encoder.model
    for stage, dilation in ((stages.layer1, 1), (stages.layer2, 1), (stages.layer3, 2), (stages.layer4, 4)):
        assert {block.conv2.dilation for block in stage} == {(dilation, dilation)}
        assert {block.conv2.padding for block in stage} == {(dilation, dilation)}


@pytest.mark.parametrize("rates", [(1,), (1, 2), (6, 12, 18, 24)])
def test_the_classifier_sums_all_of_its_branches(rates: tuple[int, ...]) -> None:
    head = DilatedSum(4, 3, rates)
    features = torch.randn(2, 4, 9, 9)
    expected = torch.zeros(2, 3, 9, 9)
    for rate, branch in zip(rates, head.branches, strict=True):
        assert isinstance(branch, nn.Conv2d)
        assert branch.bias is not None
        padded = nn.functional.pad(features, (rate,) * 4)
        for row in range(3):
            for column in range(3):
                shifted = padded[:, :, row * rate : row * rate + 9, column * rate : column * rate + 9]
                expected += torch.einsum("bdhw,kd->bkhw", shifted, branch.weight[:, :, row, column])
        expected += branch.bias[:, None, None]
    torch.testing.assert_close(head(features), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("aspp_branches", "rates"), [(2, [6, 12]), (4, [6, 12, 18, 24])])
def test_the_switch_keeps_the_smallest_rates(aspp_branches: int, rates: list[int]) -> None:
    head = random_net("resnet18", aspp_branches=aspp_branches).network.segmentation_head
    assert [branch.dilation[0] for branch in head.branches] == rates


def test_the_classifier_starts_as_the_papers_does() -> None:
    torch.manual_seed(0)
    for branch in DilatedSum(2048, 19, (6, 12)).branches:
        assert isinstance(branch, nn.Conv2d)
        assert branch.weight.mean().item() == pytest.approx(0, abs=1e-4)
        assert branch.weight.std().item() == pytest.approx(0.01, rel=0.01)
        assert branch.bias is not None


@pytest.mark.parametrize("kind", ["prototypes", "gate"])
def test_the_layout_comes_with_an_encoder_that_is_used_elsewhere(kind: str) -> None:
    def made(is_caffe: bool) -> SegNet:
        net = build_net(NetConfig(arch="deeplabv2", encoder="test_resnet", weights="none"), 4)
        net.network.set_extra_state(torch.tensor(is_caffe))
        if kind == "prototypes":
            return prototype_net(net, removed_directions=2, cluster_similarity=None).eval()
        net.gate = ClassGate(ImageClassifier(net), threshold=0.5)
        return net.eval()

    saved, loaded = made(is_caffe=True), made(is_caffe=False)
    loaded.load_state_dict(saved.state_dict())
    images = torch.rand(1, 3, 41, 41)  # of which Caffe's grid is another
    assert torch.equal(loaded(images).features, saved(images).features)
    if kind == "gate":
        maps = [net.get_submodule("gate.average.network.encoder")(images)[-1] for net in (saved, loaded)]
        assert torch.equal(*maps)
