"""Every layer of a network gives the gradients in bfloat16 that it gives in float32, on maps as wide as users train on.

Written after PyTorch's had been wrong for dilated grouped convolutions and for LayerNorm (fewmask.models.grouped_conv
and layer_norm): a training goes on with wrong gradients, and nothing says so.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.models.build import NetConfig, build_net

NETS = [
    ("deeplabv3plus", "mobilenetv2_100"),
    ("deeplabv3plus", "resnext50_32x4d"),
    ("fpn", "efficientnet_b0"),
    ("upernet", "convnext_atto"),
    ("segformer", "mit_b0"),
]


@pytest.mark.parametrize(("arch", "encoder"), NETS)
def test_layers_have_the_gradients_of_float32(arch: str, encoder: str) -> None:
    torch.manual_seed(0)
    net = build_net(NetConfig(arch=arch, encoder=encoder, weights="none"), 3)
    for module in net.modules():
        if type(module).__name__ in ("Dropout", "Dropout2d", "DropPath"):
            module.eval()  # else two calls differ
        if hasattr(module, "inplace"):
            module.inplace = False
    checked, worst = 0, (0.0, "")
    for name, layer, maps, slope in calls(net, torch.rand(2, 3, 192, 512)):
        expected, got = gradients(layer, maps, slope, "32"), gradients(layer, maps, slope, "bf16")
        for right, ours in zip(expected, got, strict=True):
            error = float((ours.float() - right).norm() / right.norm().clamp(min=1e-6))
            worst = max(worst, (error if error == error else float("inf"), name))
        checked += 1
    assert checked > 50
    assert worst[0] < 0.02, worst


def calls(net: nn.Module, images: Tensor) -> list[tuple[str, nn.Module, Tensor, Tensor]]:
    """Layers with parameters as a step runs them: name, layer, input, and the gradient that comes to its output."""
    seen: list[list[Any]] = []

    def note(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        call = [name, layer, inputs[0].detach()]
        output.register_hook(lambda slope: call.append(slope.detach()))
        seen.append(call)

    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output, name=name: note(name, layer, inputs, output))
        for name, layer in net.named_modules()
        if not list(layer.children()) and list(layer.parameters())
    ]
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(images).logits
    F.cross_entropy(logits.float(), torch.randint(0, 3, (2, 192, 512))).backward()  # type: ignore[no-untyped-call]
    for hook in hooks:
        hook.remove()
    return [tuple(call) for call in seen]  # type: ignore[misc]


def gradients(layer: nn.Module, maps: Tensor, slope: Tensor, precision: str) -> tuple[Tensor, ...]:
    """Of the input and the parameters."""
    maps = (maps.float() if precision == "32" else maps).clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        output = layer(maps)
    return torch.autograd.grad(output, [maps, *layer.parameters()], slope.to(output.dtype))
