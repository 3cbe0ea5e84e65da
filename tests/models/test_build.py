"""Every architecture and the main kinds of encoders, from their names alone."""

import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from pydantic import ValidationError

from fewmask.errors import UserError
from fewmask.models.build import ARCHITECTURES, NetConfig, build_net
from fewmask.models.segnet import SegNet

NARROW = {"embed_dim": 48, "num_heads": 2, "decoder_intermediate_channels": [16] * 4, "decoder_fusion_channels": 16}


def random_net(arch: str, encoder: str, **settings: Any) -> SegNet:
    torch.manual_seed(0)
    return build_net(NetConfig(arch=arch, encoder=encoder, weights="none", **settings), num_classes=5)


def assert_trains_at_any_size(net: SegNet) -> None:
    net.train()(torch.rand(net.min_batch, 3, 75, 101)).logits.square().mean().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []
    logits, features = net.eval()(torch.rand(1, 3, 33, 50))
    assert logits.shape == (1, 5, 33, 50)
    assert features.shape[1] == net.feature_dim


def test_the_nearest_encoders_are_named_once() -> None:
    with pytest.raises(UserError, match="The nearest names are") as caught:
        random_net("unet", "resnet51")
    nearest = caught.value.fix.removeprefix("The nearest names are ").rstrip(".").split(", ")
    assert len(set(nearest)) == len(nearest)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_takes_any_size_and_trains_all_its_weights(arch: str) -> None:
    assert_trains_at_any_size(random_net(arch, "test_vit" if arch == "dpt" else "test_resnet"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "encoder", "options"),
    [
        ("deeplabv3plus", "mobilenetv2_100", {}),
        ("deeplabv2", "mobilenetv2_050", {}),
        ("upernet", "test_convnext", {}),
        ("unet", "mit_b0", {}),
        ("unet", "tu-test_efficientnet", {}),
        ("segformer", "swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": [1, 1, 1, 1]}),
        ("dpt", "vit_small_patch14_dinov2", NARROW),
        ("dpt", "vit_small_patch16_dinov3", NARROW),
    ],
)
def test_encoders_of_timm_and_of_smp_work_by_name(arch: str, encoder: str, options: dict[str, Any]) -> None:
    assert_trains_at_any_size(random_net(arch, encoder, options=options))


def test_patches_of_14_pixels_give_four_cells_to_a_token() -> None:
    net = random_net("dpt", "vit_small_patch14_dinov2", options=NARROW).eval()
    assert net.stride == 28
    # 4 x 8 tokens of 14 pixels; the first level has 4 cells a side, and the last fusion doubles them
    assert net(torch.rand(1, 3, 56, 112)).features.shape[-2:] == (32, 64)


def test_options_reach_the_architecture_and_timm() -> None:
    options = {"decoder_pyramid_channels": 32, "pad_type": "same"}
    net = random_net("fpn", "mobilenetv2_050", options=options)
    assert net.network.decoder.p5.out_channels == 32
    assert type(net.network.encoder.model.conv_stem) is timm.layers.Conv2dSame


@pytest.mark.slow
def test_normalization_is_that_of_timms_weights_unless_given() -> None:
    assert random_net("dpt", "test_vit").mean.flatten().tolist() == pytest.approx([0.5] * 3)
    assert random_net("fpn", "resnet18").mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert random_net("fpn", "resnet18", mean=(0.1, 0.2, 0.3)).mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"net\.arch: .*nearest: deeplabv3plus"):
        random_net("deeplabv3+plus", "resnet18")
    with pytest.raises(UserError, match=r"net\.encoder: .*resnet50"):
        random_net("fpn", "resnet_50")


@pytest.mark.parametrize(
    ("arch", "encoder", "options"),
    [
        ("unet", "test_vit", {}),
        ("deeplabv3plus", "densenet121", {}),
        ("unet", "resnet18.no_such_tag", {}),
        ("unet", "resnet18", {"no_such_option": 1}),
        ("dpt", "mit_b0", {}),
    ],
)
def test_what_cannot_be_built_is_a_user_error(arch: str, encoder: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"net: .*cannot be built"):
        random_net(arch, encoder, options=options)


def test_a_misspelled_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="encodr"):
        NetConfig(encodr="resnet18")  # type: ignore[call-arg]


@pytest.mark.parametrize("encoder", ["resnet18", "mit_b0"])
def test_imagenet_without_network_fails_at_once_with_one_line(
    encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)  # as between retries
    with pytest.raises(UserError, match=r"net\.weights=PATH") as caught:
        build_net(NetConfig(arch="unet", encoder=encoder), num_classes=5)
    assert naps == []
    assert "\n" not in str(caught.value)
    assert not constants.HF_HUB_OFFLINE
