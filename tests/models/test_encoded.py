"""Between encoder and decoder a method may perturb the maps of every kind of network, and loses nothing else."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.errors import UserError
from fewmask.models.build import NetConfig, build_net
from fewmask.models.encoded import Encoded
from fewmask.models.segnet import SegNet

KINDS: dict[str, dict[str, Any]] = {
    "unet": {"encoder": "test_resnet"},
    "mit": {"arch": "unet", "encoder": "mit_b0"},
    "deeplabv3plus": {"encoder": "test_resnet"},
    "fpn": {"encoder": "test_resnet"},
    "deeplabv2": {"encoder": "test_resnet"},
    "dpt": {"encoder": "test_vit"},
    "dinov2": {
        "arch": "dpt",
        "encoder": "vit_small_patch14_dinov2",
        "options": {"embed_dim": 48, "num_heads": 2, "decoder_fusion_channels": 16},
    },
}


@pytest.fixture(scope="module", params=KINDS)
def net(request: pytest.FixtureRequest) -> SegNet:
    torch.manual_seed(0)
    config = NetConfig(**{"arch": request.param, "weights": "none"} | KINDS[request.param])
    return build_net(config, num_classes=5).eval()


def images_of_any_size(num_images: int = 2) -> Tensor:
    return torch.rand(num_images, 3, 45, 70)


def dropped(maps: Tensor) -> Tensor:
    return F.dropout2d(maps, 0.5)


def without_half_of_the_channels(maps: Tensor, kept: int) -> Tensor:
    """The complementary masks of UniMatch V2: one keeps the channels that the other drops, at twice their value."""
    mask = torch.arange(maps.shape[1]) % 2 == kept
    return 2 * maps * mask[:, None, None]


def test_the_three_parts_compose_to_forward_bit_for_bit(net: SegNet) -> None:
    images = images_of_any_size()
    with torch.no_grad():
        logits, features = net(images)
        composed = net.decode(net.encode(images))
        assert torch.equal(composed, features)
        assert torch.equal(net.features(images), features)
        assert torch.equal(net.classify(composed, (45, 70)), logits)


def test_the_maps_are_those_of_the_levels_in_order_of_depth_without_the_image(net: SegNet) -> None:
    encoded = net.encode(images_of_any_size())
    widths = [maps.shape[-1] for maps in encoded.maps]
    assert widths == sorted(widths, reverse=True)
    assert all(maps.shape[1] != 3 and len(maps) == 2 for maps in encoded.maps)
    assert encoded.tokens is None or len(encoded.tokens) == len(encoded.maps)


def test_dropout_of_channels_changes_what_is_decoded_and_reaches_the_encoder(net: SegNet) -> None:
    images = images_of_any_size()
    encoded = net.encode(images)
    clean = net.decode(encoded)
    perturbed = net.decode(encoded.changed(dropped))
    assert perturbed.shape == clean.shape
    assert not torch.allclose(perturbed, clean)
    gradients = torch.autograd.grad(perturbed.sum(), list(net.network.encoder.parameters()), allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in gradients)


def test_no_change_decodes_to_the_same(net: SegNet) -> None:
    encoded = net.encode(images_of_any_size())
    assert torch.equal(net.decode(encoded.changed(torch.clone)), net.decode(encoded))


def test_complementary_masks_add_up_to_the_maps(net: SegNet) -> None:
    encoded = net.encode(images_of_any_size())
    one, other = (encoded.changed(partial(without_half_of_the_channels, kept=kept)) for kept in (0, 1))
    for maps, first, second in zip(encoded.maps, one.maps, other.maps, strict=True):
        torch.testing.assert_close((first + second) / 2, maps)
    assert not torch.allclose(net.decode(one), net.decode(other))


def test_clean_and_perturbed_maps_pass_the_decoder_as_one_batch(net: SegNet) -> None:
    with torch.no_grad():
        encoded = net.encode(images_of_any_size(num_images=3))
        perturbed = encoded.part(slice(1, 3)).changed(dropped)
        both = net.decode(Encoded.joined([encoded, perturbed]))
        torch.testing.assert_close(both[:3], net.decode(encoded), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(both[3:], net.decode(perturbed), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_tokens_of_a_vision_transformer_travel_beside_the_maps() -> None:
    torch.manual_seed(0)
    net = build_net(NetConfig(arch="dpt", encoder="test_vit", weights="none"), num_classes=5).eval()
    encoded = net.encode(images_of_any_size())
    assert encoded.tokens is not None
    assert all(tokens is not None and tokens.shape[0] == 2 for tokens in encoded.tokens)
    other = encoded._replace(tokens=[None if tokens is None else tokens + 1 for tokens in encoded.tokens])
    assert not torch.allclose(net.decode(other), net.decode(encoded))


def test_a_batch_that_cannot_train_is_refused_before_it_is_encoded() -> None:
    net = build_net(NetConfig(arch="deeplabv3plus", encoder="test_resnet", weights="none"), num_classes=5).train()
    with pytest.raises(UserError, match="at least two images"):
        net.encode(torch.rand(1, 3, 64, 64))
