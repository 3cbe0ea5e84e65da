"""SegNet on a network small enough to check by hand, and on timm's smallest ResNet."""

from collections.abc import Callable
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from einops import rearrange
from torch import Tensor, nn

from fewmask.errors import UserError
from fewmask.models.grid import on_grid
from fewmask.models.segnet import SegNet
from grad_of import grad_of

NEUTRAL: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


class EveryFourthPixel(nn.Module):
    """Features are the pixels themselves, at stride 4; the inputs are kept for the tests to look at."""

    output_stride = 4

    def forward(self, images: Tensor) -> list[Tensor]:
        self.seen = images
        return [images[:, :, ::4, ::4]]


class Last(nn.Module):
    def forward(self, features: list[Tensor]) -> Tensor:
        return features[-1]


def plain_network() -> nn.Module:
    network = nn.Module()
    network.encoder, network.decoder, network.segmentation_head = EveryFourthPixel(), Last(), nn.Conv2d(3, 2, 1)
    return network


def small_net(arch: str = "fpn", **arguments: Any) -> SegNet:
    torch.manual_seed(0)
    network = smp.create_model(arch, "tu-test_resnet", encoder_weights=None, classes=5)
    return SegNet(network, 5, **arguments)


def numbered_pixels(height: int, width: int) -> Tensor:
    return torch.arange(2 * height * width).view(2, height, width)


@pytest.mark.parametrize("size", [(75, 101), (64, 64), (1, 33), (31, 8)])
def test_logits_have_the_size_of_the_images(size: tuple[int, int]) -> None:
    net = small_net().eval()
    logits, features = net(torch.rand(1, 3, *size))
    assert logits.shape == (1, 5, *size)
    assert features.shape[1] == net.feature_dim


@pytest.mark.parametrize("size", [(8, 12), (9, 14)])
def test_a_row_of_the_features_belongs_to_the_same_entry_of_a_map_on_the_grid(size: tuple[int, int]) -> None:
    net = SegNet(plain_network(), 2, **NEUTRAL)
    labels = 1 + numbered_pixels(*size)
    images = labels[:, None].float().expand(-1, 3, -1, -1)
    rows = rearrange(net.features(images), "b d hs ws -> (b hs ws) d")
    entries = on_grid(labels, (3, 4) if size == (9, 14) else (2, 3), net.stride, fill=0).flatten()
    assert torch.equal(rows[:, 0].long(), entries)


def test_the_network_sees_normalized_pixels_and_zeros_as_padding() -> None:
    net = SegNet(plain_network(), 2, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.25))
    net(torch.ones(1, 3, 3, 5))
    seen = net.network.encoder.seen
    assert seen.shape == (1, 3, 4, 8)
    torch.testing.assert_close(seen[0, :, 0, 0], torch.tensor([1.8, 1.6, 2.8]))
    assert seen[:, :, 3].eq(0).all()
    assert seen[:, :, :, 5:].eq(0).all()


def test_a_saved_network_carries_its_normalization() -> None:
    saved = small_net(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)).eval()
    loaded = small_net().eval()
    images = torch.rand(1, 3, 40, 40)
    assert not torch.allclose(saved(images).logits, loaded(images).logits)
    loaded.load_state_dict(saved.state_dict())
    assert torch.equal(saved(images).logits, loaded(images).logits)


def test_logits_are_the_classified_features_upsampled_once_with_aligned_corners() -> None:
    net = small_net().eval()
    logits, features = net(torch.rand(1, 3, 64, 96))
    coarse = net.network.segmentation_head(features)
    assert coarse.shape == (1, 5, 16, 24)
    torch.testing.assert_close(logits[..., [0, -1]][..., [0, -1], :], coarse[..., [0, -1]][..., [0, -1], :])
    assert torch.equal(net.classify(features, (64, 96)), logits)


def test_logits_equal_those_of_the_network_without_our_cut() -> None:
    torch.manual_seed(0)
    network = smp.create_model("fpn", "tu-test_resnet", encoder_weights=None, classes=5).eval()
    images = torch.rand(1, 3, 64, 96)
    expected = network(images)
    torch.testing.assert_close(SegNet(network, 5, **NEUTRAL).eval()(images).logits, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_dpt_is_cut_before_its_last_convolution() -> None:
    network = smp.DPT("tu-test_vit", encoder_weights=None, classes=5, dynamic_img_size=True).eval()
    images = torch.rand(1, 3, 64, 96)
    expected = network(images)
    net = SegNet(network, 5, **NEUTRAL).eval()
    assert [type(layer) for layer in net.network.segmentation_head] == [nn.Dropout, nn.Conv2d]
    torch.testing.assert_close(net(images).logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("arch", ["fpn", "deeplabv3plus"])
def test_the_groups_hold_every_parameter_once(arch: str) -> None:
    net = small_net(arch)
    groups = net.parameter_groups()
    assert list(groups) == ["encoder", "decoder", "classifier"]
    assert sorted(id(parameter) for group in groups.values() for parameter in group) == sorted(
        map(id, net.parameters())
    )
    assert [parameter.shape[0] for parameter in groups["classifier"]] == [5, 5]


@pytest.mark.parametrize("prepare", [lambda net: net, lambda net: net.eval().train()])
def test_frozen_batchnorm_keeps_its_statistics_and_its_affine_through_train(
    prepare: Callable[[SegNet], SegNet],
) -> None:
    net = prepare(small_net(batchnorm="frozen"))
    before = {name: value.clone() for name, value in net.network.encoder.state_dict().items()}
    images = torch.rand(2, 3, 32, 32)
    net(images)
    assert all(torch.equal(before[name], value) for name, value in net.network.encoder.state_dict().items())
    assert net.network.decoder.training
    both, alone = net.network.encoder(images)[-1], net.network.encoder(images[:1])[-1]
    torch.testing.assert_close(both[:1], alone)


def test_affine_frozen_batchnorm_trains_statistics_but_not_gamma_and_beta() -> None:
    net = small_net(batchnorm="affine_frozen").train()
    net(torch.rand(2, 3, 32, 32)).logits.mean().backward()
    norms = [layer for layer in net.network.encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms
    trained = {id(parameter) for parameter in net.parameter_groups()["encoder"]}
    for layer in norms:
        assert layer.weight.grad is None
        assert not {id(layer.weight), id(layer.bias)} & trained
        assert layer.num_batches_tracked == 1


@pytest.mark.slow
def test_it_runs_in_bfloat16() -> None:
    net = small_net().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(torch.rand(2, 3, 75, 101)).logits
    assert logits.shape == (2, 5, 75, 101)
    assert logits.dtype == torch.bfloat16
    logits.float().mean().backward()
    assert all(grad_of(parameter).isfinite().all() for parameter in net.parameters())


def test_one_cell_of_one_image_is_refused_and_frozen_batchnorm_takes_it() -> None:
    image = torch.rand(1, 3, 32, 32)
    with pytest.raises(UserError, match=r"one cell of at most 32 x 32 pixels.*data.crop"):
        small_net("unet").train()(image)
    small_net("unet", batchnorm="frozen").train()(image)
    small_net("unet").eval()(image)


def test_a_batch_of_one_is_refused_where_its_statistics_mean_nothing() -> None:
    images = torch.rand(1, 3, 64, 64)
    with pytest.raises(UserError, match="two images"):
        small_net("deeplabv3plus").train()(images)
    small_net("deeplabv3plus").eval()(images)
    small_net("fpn").train()(images)
