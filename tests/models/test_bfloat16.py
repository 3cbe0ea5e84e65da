"""Every layer of a network gives the gradients in bfloat16 that it gives in float32, on maps as wide as users train on.

Written after PyTorch's had been wrong for dilated grouped convolutions and for LayerNorm (fewmask.models.grouped_conv
and layer_norm): a training goes on with wrong gradients, and nothing says so.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.models.build import NetConfig, build_net
from rounding import error_share, tolerance

NETS: list[tuple[str, str, dict[str, Any]]] = [
    ("deeplabv3plus", "mobilenetv2_100", {"decoder_channels": 64}),
    ("deeplabv3plus", "resnext50_32x4d", {"layers": [1] * 4, "channels": [64, 64, 64, 256], "decoder_channels": 64}),
    ("fpn", "efficientnet_b0", {"decoder_segmentation_channels": 32}),
    ("upernet", "convnext_atto", {"depths": [1, 1, 1, 1], "decoder_channels": 32}),
    ("segformer", "mit_b0", {"decoder_segmentation_channels": 32}),
]  # one block of each kind and narrow decoders: a processor without bfloat16 computes for long
HEIGHT, WIDTH = 32, 512  # wide, because some kernels were wrong from a width of 29 cells on, and low, to be quick
MOST_SUMS = 9  # in bfloat16: the taps of a kernel, or the small maps that make the two maps of a batch


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "encoder", "options"), NETS, ids=[encoder for _, encoder, _ in NETS])
def test_layers_have_the_gradients_of_float32(arch: str, encoder: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = build_net(NetConfig(arch=arch, encoder=encoder, weights="none", options=options), 3)
    for module in net.modules():
        if type(module).__name__ in ("Dropout", "Dropout2d", "DropPath"):
            module.eval()  # else two calls differ
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]
    worst = (0.0, "")
    kinds = {(repr(call[1]), call[2].shape): call for call in calls(net, torch.rand(2, 3, HEIGHT, WIDTH))}
    assert len(kinds) > 25
    for name, layer, maps, slope in kinds.values():
        expected, got = gradients(layer, maps, slope, "32"), gradients(layer, maps, slope, "bf16")
        for right, ours in zip(expected, got, strict=True):
            error = error_share(ours, right)
            worst = max(worst, (math.inf if math.isnan(error) else error, name))
    assert worst[0] < tolerance(MOST_SUMS), worst


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
    F.cross_entropy(logits.float(), torch.randint(0, 3, (2, HEIGHT, WIDTH))).backward()
    for hook in hooks:
        hook.remove()
    return [(name, layer, maps, slope) for name, layer, maps, slope in seen]


def gradients(layer: nn.Module, maps: Tensor, slope: Tensor, precision: str) -> tuple[Tensor, ...]:
    """The gradients of the input and the parameters."""
    maps = (maps.float() if precision == "32" else maps).clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        output = layer(maps)
    return torch.autograd.grad(output, [maps, *layer.parameters()], slope.to(output.dtype))
