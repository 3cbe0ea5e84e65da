"""Grouped convolutions that train correctly and fast on a CPU.

In bfloat16 and channels-last order, oneDNN leaves parts of the weights' gradient of a dilated grouped convolution
unwritten if the map is at least 29 pixels wide (PyTorch 2.15, rates 2 to 10: errors of 1 to 1e36 times the gradient).
The gradients of strided grouped convolutions, and of kernels beyond 3 x 3, are slow in bfloat16 and faster in float32
(benchmarks/grouped_conv.py).
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.shapes import Float

Pair = tuple[int, int]


class GroupedConv2d(nn.Conv2d):
    """A strided, dilated or large grouped nn.Conv2d in which only the stride changes the size of a map.

    The values are nn.Conv2d's up to rounding. If gradients are needed on a CPU, a dilated convolution is computed as a
    plain one over pixels that lie its dilation apart, and every other convolution in float32.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out ho wo"]:
        """Returns what nn.Conv2d returns, in the same dtype."""
        if input.device.type != "cpu" or torch.compiler.is_exporting():  # an exported graph is for maps of any size
            return super().forward(input)
        height, width = input.shape[-2:]
        weight, dilation = self._taps_within(height, width)
        if not torch.is_grad_enabled():
            convolve = self._convolve if torch.is_autocast_enabled("cpu") else self._scale_or_convolve
            return convolve(input, weight, dilation)
        fits = height >= dilation[0] * weight.shape[-2] and width >= dilation[1] * weight.shape[-1]
        if max(dilation) > 1 and max(self.stride) == 1 and fits:  # maps smaller than the kernel would be slow
            return _join(self._convolve(_split(input, dilation), weight, (1, 1)), dilation)[..., :height, :width]
        if not torch.is_autocast_enabled("cpu"):
            return self._scale_or_convolve(input, weight, dilation)
        with torch.autocast("cpu", enabled=False):
            output = self._scale_or_convolve(input.float(), weight, dilation)
        return output.to(torch.get_autocast_dtype("cpu"))

    def _taps_within(self, height: int, width: int) -> tuple[Tensor, Pair]:
        """Weights and dilation without the taps that see only the zeros around a map."""
        weight, (down, across) = self.weight, self.dilation
        if down >= height:
            weight, down = weight[:, :, self.kernel_size[0] // 2, None], 1
        if across >= width:
            weight, across = weight[..., self.kernel_size[1] // 2, None], 1
        return weight, (down, across)

    def _convolve(self, maps: Tensor, weight: Tensor, dilation: Pair) -> Tensor:
        padding = dilation[0] * (weight.shape[-2] // 2), dilation[1] * (weight.shape[-1] // 2)
        return F.conv2d(maps, weight, self.bias, self.stride, padding, dilation, self.groups)

    def _scale_or_convolve(self, maps: Tensor, weight: Tensor, dilation: Pair) -> Tensor:
        one_tap_a_channel = weight.shape[1:] == (1, 1, 1) and len(weight) == maps.shape[1]
        if not one_tap_a_channel or max(self.stride) > 1:
            return self._convolve(maps, weight, dilation)
        scaled = maps * weight[:, 0]
        return scaled if self.bias is None else scaled + self.bias[:, None, None]


def use_grouped_convs(network: nn.Module) -> None:
    """Turns every layer that a GroupedConv2d can replace into one, without changing its weights."""
    for layer in network.modules():
        if (
            type(layer) is nn.Conv2d
            and layer.groups > 1
            and (max(*layer.stride, *layer.dilation) > 1 or max(layer.kernel_size) > 3)
        ):
            keeps_size = all(
                size % 2 == 1 and padding == dilation * (size // 2)
                for size, padding, dilation in zip(layer.kernel_size, layer.padding, layer.dilation, strict=True)
            )
            if keeps_size and layer.padding_mode == "zeros":
                layer.__class__ = GroupedConv2d


def _split(maps: Tensor, dilation: Pair) -> Tensor:
    """Puts pixels that lie `dilation` apart into small maps [b dh dw, c, h/dh, w/dw], channels last."""
    down, across = dilation
    padded = F.pad(maps, (0, -maps.shape[-1] % across, 0, -maps.shape[-2] % down)).permute(0, 2, 3, 1)
    small = rearrange(padded, "b (h dh) (w dw) c -> (b dh dw) h w c", dh=down, dw=across)
    return small.permute(0, 3, 1, 2)


def _join(small: Tensor, dilation: Pair) -> Tensor:
    """Undoes `_split`, except for its padding."""
    down, across = dilation
    maps = rearrange(small.permute(0, 2, 3, 1), "(b dh dw) h w c -> b (h dh) (w dw) c", dh=down, dw=across)
    return maps.permute(0, 3, 1, 2)
