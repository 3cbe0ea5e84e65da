"""The cost of one forward pass of DeepLabv2 with ResNet-101, against the number in the paper.

Alonso et al., ICCV 2021, section 4.4: 372.04 GFLOPs for one 512 x 512 image (19 classes, Cityscapes). Counted here as
2 x multiply-adds of the convolutions, on the meta device: nothing is computed. Run from the root of the repository:

    python benchmarks/flops.py

It prints a table of what the paper leaves open (branches in use, rounding of the pooling, where a stage strides) and
appends it to benchmarks/flops.csv.
"""

from itertools import product
from pathlib import Path

import torch
from rich import print
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewmask.models.build import NetConfig, build_net
from fewmask.models.segnet import SegNet
from table import Table as CsvTable

PAPER_GFLOPS = 372.04


def main() -> None:
    rows = [measure(*variant) for variant in product((4, 2), (64, 65), ("3x3", "1x1"))]
    shown = ("variant", "gflops", "paper", "ratio")
    table = Table(*shown)
    for row in rows:
        table.add_row(*(row[column] for column in shown))
    print(table)
    kept = CsvTable(Path(__file__).with_suffix(".csv"), ("variant",))
    for row in rows:
        if not kept.holds(variant=row["variant"]):
            kept.append(row)


def measure(aspp_branches: int, grid: int, stride_on: str) -> dict[str, str]:
    with torch.device("meta"):
        net = build_net(
            NetConfig(arch="deeplabv2", encoder="resnet101", weights="none", aspp_branches=aspp_branches), 19
        )
        if grid == 65:
            net.network.encoder.model.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)
        if stride_on == "1x1":
            _stride_early(net)
        gflops, measured_grid = count_gflops(net)
    assert measured_grid == (grid, grid)
    return {
        "variant": f"{aspp_branches} branches, {grid}x{grid}, stride in {stride_on}",
        "gflops": f"{gflops:.2f}",
        "paper": f"{PAPER_GFLOPS}",
        "ratio": f"{gflops / PAPER_GFLOPS:.4f}",
        "torch": torch.__version__,
    }


def count_gflops(net: SegNet) -> tuple[float, tuple[int, ...]]:
    """GFLOPs of one 512 x 512 image, and the grid of its features."""
    with FlopCounterMode(display=False) as counter:
        features = net.eval()(torch.empty(1, 3, 512, 512)).features
    return counter.get_total_flops() / 1e9, tuple(features.shape[-2:])


def _stride_early(net: SegNet) -> None:
    """Move the stride of layer2 to the first convolution of its first block; layer3 and layer4 do not stride."""
    block = net.network.encoder.model.layer2[0]
    block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)


if __name__ == "__main__":
    main()
