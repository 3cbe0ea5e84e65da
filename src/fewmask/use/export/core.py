"""The part of a network that is exported by tracing: from normalized, padded images to logits on its own grid."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import torch
from timm.layers import padding as timm_padding
from torch import Tensor, nn

from fewmask.errors import UserError
from fewmask.models.segnet import SegNet


class Core(nn.Module):
    """Encoder, decoder, classification layer and gate of a `SegNet`.

    What comes before and after (resizing, normalization, padding, upsampling) has sizes that depend on the image, so a
    format states it in its own words.
    """

    def __init__(self, net: SegNet) -> None:
        super().__init__()
        self.network: Any = with_pools_of_any_size(net.network)
        self.gate = None if net.gate is None else with_pools_of_any_size(net.gate)
        self._has_whole_strides = net.stride % int(self.network.encoder.output_stride) == 0

    def forward(self, padded: Tensor) -> Tensor:
        """Logits [b k hs ws] of images [b 3 h w] that are normalized and padded to the network's stride."""
        with _same_padding_of_whole_strides() if self._has_whole_strides else nullcontext():
            return self._logits(padded)

    def _logits(self, padded: Tensor) -> Tensor:
        encoded: Any = self.network.encoder(padded)
        maps, tokens = encoded if isinstance(encoded, tuple) else (encoded, None)
        logits: Tensor = self.network.segmentation_head(
            self.network.decoder(list(maps), *([] if tokens is None else [tokens]))
        )
        return logits if self.gate is None else self.gate(padded, logits)


@contextmanager
def _same_padding_of_whole_strides() -> Iterator[None]:
    """Inside, timm's layers with `same` padding pad as for sides that are multiples of their stride, which is constant.

    Else the padding of a layer is a formula of the sizes before it, and a tracer simplifies these formulas for minutes.
    """

    def padding(side: int, kernel_size: int, stride: int, dilation: int) -> int:
        return max((kernel_size - 1) * dilation + 1 - stride, 0)

    before, timm_padding.get_same_padding = timm_padding.get_same_padding, padding
    try:
        yield
    finally:
        timm_padding.get_same_padding = before


class _Pool(nn.Module):
    """`nn.AdaptiveAvgPool2d` as products with two matrices of shares, which a graph computes for the size of its input.

    A tracer writes the windows of the example's size into the graph, and they are wrong for other sizes.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, maps: Tensor) -> Tensor:
        """The means [b d rows columns] of windows of maps [b d h w]."""
        height, width = maps.shape[-2:]
        return _shares(height, self.rows, maps) @ maps @ _shares(width, self.columns, maps).T


def _shares(length: int, parts: int, like: Tensor) -> Tensor:
    """The share of each place in the mean of each part [parts length]; part i has the places il/p to (i + 1)l/p."""
    part, places = torch.arange(parts, device=like.device)[:, None], torch.arange(length, device=like.device)
    first, end = part * length // parts, ((part + 1) * length + parts - 1) // parts
    inside = (places >= first) & (places < end)
    return inside.to(like.dtype) / (end - first).to(like.dtype)


def with_pools_of_any_size(network: Any) -> Any:
    """A copy of the network with `_Pool` for pools of several windows; the network itself if it has none."""
    pools: dict[str, Any] = {
        name: module.output_size
        for name, module in network.named_modules()
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size not in (1, (1, 1))
    }
    if not pools:
        return network
    copy = deepcopy(network)
    for name, size in pools.items():
        rows, columns = (size, size) if isinstance(size, int) else size
        copy.set_submodule(name, _Pool(rows, columns))
    return copy


def example(net: SegNet) -> Tensor:
    """Images to trace with: two, of sides that differ."""
    cell = max(net.stride, int(net.network.encoder.output_stride))
    return torch.zeros(2, 3, 4 * cell, 6 * cell, device=net.mean.device)


def dynamic_shapes(net: SegNet) -> tuple[dict[int, Any], ...]:
    """Any number of images, and sides of any multiple of the network's stride.

    Where images are not padded, torch.export finds the sizes itself: it cannot prove that every size gives cells.
    """
    stride, dim = net.stride, torch.export.Dim
    longest = 2**15 // stride
    sides = {
        axis: stride * dim(name, min=1, max=longest) if stride > 1 else dim.DYNAMIC
        for axis, name in ((2, "rows"), (3, "columns"))
    }
    return ({0: dim("batch", min=1, max=1024), **sides},)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides what exporters warn of and log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def exporting(name: str) -> Iterator[None]:
    """Turns what a tracer raises into an error of one line that names the network, and hides its warnings."""
    try:
        with quiet():
            yield
    except UserError:
        raise
    except Exception as error:  # tracers raise nearly anything
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))[:300]
        fix = "Export it as --format safetensors, or train another net.arch."
        raise UserError(f"{name} cannot be exported: {reason}", "--format", fix) from error
