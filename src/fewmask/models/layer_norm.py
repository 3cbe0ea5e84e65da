"""LayerNorm in float32 under autocast, whatever the device.

On a GPU, autocast does this by itself. On a CPU, autocast leaves the input in bfloat16, and PyTorch then sums the
gradients of weight and bias in bfloat16 too: with 14,400 pixels the gradients are off by a tenth and more
(PyTorch 2.15).
"""

from typing import Any

import torch
from torch import nn


def use_float32_layer_norms(network: nn.Module) -> None:
    """Makes every LayerNorm of the network take its input in float32."""
    for layer in network.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.register_forward_pre_hook(_in_float32)


def _in_float32(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    maps, *others = inputs
    return (maps.to(torch.promote_types(maps.dtype, torch.float32)), *others)
