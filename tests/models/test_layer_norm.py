"""LayerNorm's gradients under bfloat16 autocast are those of float32."""

import pytest
import torch
from timm.layers import LayerNorm2d
from torch import nn

from fewmask.models.build import NetConfig, build_net
from fewmask.models.layer_norm import use_float32_layer_norms
from rounding import error_share

FLOAT32 = 2 * 2**-24 * (2 * 14400) ** 0.5
"""Rounding of a sum over the pixels in float32, as in rounding.py; PyTorch's sum in bfloat16 is off by 0.1."""


@pytest.mark.parametrize(("layer", "shape"), [(nn.LayerNorm(64), (2, 14400, 64)), (LayerNorm2d(64), (2, 64, 120, 120))])
def test_gradients_in_bfloat16_are_right(layer: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    maps, slope = torch.randn(shape).bfloat16(), torch.randn(shape)
    expected = torch.autograd.grad(layer(maps.float()), list(layer.parameters()), slope)
    use_float32_layer_norms(nn.Sequential(layer))
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(maps)
    got = torch.autograd.grad(output, list(layer.parameters()), slope.to(output.dtype))
    for right, ours in zip(expected, got, strict=True):
        assert error_share(ours, right) < FLOAT32


def test_float64_stays() -> None:
    layer = nn.LayerNorm(8).double()
    use_float32_layer_norms(layer)
    assert layer(torch.randn(3, 8, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "encoder"), [("segformer", "mit_b0"), ("upernet", "convnext_atto")])
def test_networks_are_built_with_them(arch: str, encoder: str) -> None:
    net = build_net(NetConfig(arch=arch, encoder=encoder, weights="none"), 3).eval()
    seen: list[torch.dtype] = []
    norms = [layer for layer in net.modules() if isinstance(layer, nn.LayerNorm)]
    for layer in norms:
        layer.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        net(torch.rand(1, 3, 64, 64))
    assert len(seen) >= len(norms) > 4
    assert set(seen) == {torch.float32}
