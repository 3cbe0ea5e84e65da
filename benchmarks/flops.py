"""The cost of a forward pass of DeepLabv2 with ResNet-101, and of the parts of a step, beside the paper's numbers.

Alonso et al., ICCV 2021, section 4.4, gives 372.04 GFLOPs for one 512 x 512 image (19 classes, Cityscapes). A step with
one labeled and one unlabeled image takes 1151.19 = 3 x 372.04 + 8.59 (heads) + 15.96 (selectors) + 10.52 (distances).
This script counts two operations per multiply-add of convolutions and matrix products. Run it from the root of the
repository:

    python benchmarks/flops.py

It prints one table of what the paper leaves open about the network (branches in use, rounding of the pooling, where a
stage strides) and one table of the parts of a step, and appends them to benchmarks/flops.csv.
"""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
from rich import print
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewmask.models.build import NetConfig, build_net
from fewmask.models.contrast_heads import ContrastHeads
from fewmask.models.segnet import SegNet
from fewmask.ops.contrast import bank_contrast
from table import Table as CsvTable

PAPER_GFLOPS = 372.04
PAPER_PARTS = {"heads": 8.59, "selectors": 15.96, "distances": 10.52}
CLASSES, SLOTS = 19, 256


def main() -> None:
    rows = [measure(*variant) for variant in product((4, 2), (64, 65), ("3x3", "1x1"))]
    rows += [_row(part, gflops, PAPER_PARTS[part]) for part, gflops in part_gflops().items()]
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
    return _row(f"{aspp_branches} branches, {grid}x{grid}, stride in {stride_on}", gflops, PAPER_GFLOPS)


def _row(variant: str, gflops: float, paper: float) -> dict[str, str]:
    return {
        "variant": variant,
        "gflops": f"{gflops:.2f}",
        "paper": f"{paper}",
        "ratio": f"{gflops / paper:.4f}",
        "torch": torch.__version__,
    }


def part_gflops() -> dict[str, float]:
    """Forward GFLOPs of the contrast for one labeled and one unlabeled image: 64 x 64 pixels each, 256 rows a class."""
    heads = ContrastHeads(CLASSES, 2048)
    pixels = torch.randn(2 * 64 * 64, 2048)
    classes = torch.randint(0, CLASSES, (len(pixels),))
    bank, filled = torch.randn(CLASSES, SLOTS, 256), torch.full((CLASSES,), SLOTS)
    row_classes = torch.arange(CLASSES)[:, None].expand(CLASSES, SLOTS)
    ones, bank_ones = torch.ones(len(pixels)), torch.ones(CLASSES, SLOTS)
    predictions = heads.predictor(heads.projector(pixels, classes, CLASSES), classes, CLASSES)
    return {
        "heads": _gflops(lambda: heads.predictor(heads.projector(pixels, classes, CLASSES), classes, CLASSES)),
        "selectors": _gflops(
            lambda: (heads.prediction_selectors(predictions, classes), heads.bank_selectors.of_slots(bank, row_classes))
        ),
        "distances": _gflops(lambda: bank_contrast(predictions, classes, bank, filled, ones, bank_ones)),
    }


def _gflops(run: Callable[[], object]) -> float:
    def of_groups(rows: tuple[int, ...], weight: tuple[int, ...], *_: object, **__: object) -> int:
        return 2 * rows[0] * weight[-2] * weight[-1]  # each row meets the matrix of its own group

    with (
        torch.no_grad(),
        FlopCounterMode(display=False, custom_mapping={torch.ops.aten._grouped_mm: of_groups}) as counter,
    ):
        run()
    return float(counter.get_total_flops()) / 1e9


def count_gflops(net: SegNet) -> tuple[float, tuple[int, ...]]:
    """The GFLOPs of one 512 x 512 image, and the size of its features."""
    with FlopCounterMode(display=False) as counter:
        features = net.eval()(torch.empty(1, 3, 512, 512)).features
    return float(counter.get_total_flops()) / 1e9, tuple(features.shape[-2:])


def _stride_early(net: SegNet) -> None:
    """Move the stride of layer2 to the first convolution of its first block; layer3 and layer4 do not stride."""
    block = net.network.encoder.model.layer2[0]
    block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)


if __name__ == "__main__":
    main()
