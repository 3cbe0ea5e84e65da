"""The strided, dilated and large grouped convolutions of small networks, forward and backward, and whole steps.

    python benchmarks/grouped_conv.py

fewmask's layer is timed beside nn.Conv2d, channels last, on a CPU. `map` is the size of a layer's input of eight
images: sizes up to 24 x 32 come from crops of 96 x 128, and 22 x 30 comes from crops of 352 x 480. An error is the
largest error of the weights' gradient over the gradient's largest value, in float64. A step has four labeled and, for
class_bank, two unlabeled crops of 96 x 128, with a full bank. Rows are added to benchmarks/grouped_conv.csv, and rows
that are there already are skipped.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor, nn

from fewmask.models.grouped_conv import GroupedConv2d, use_grouped_convs
from fewmask.recipe import make_recipe
from fewmask.run.checkpoint import Position
from fewmask.training.batches import reading
from fewmask.training.device import launch_fabric
from fewmask.training.prepare import prepare_data
from measure import median_seconds
from step import LateTrainer, write_noise
from table import Table

HERE = Path(__file__).parent


class Layer(NamedTuple):
    """A depthwise convolution and the size of its input."""

    channels: int
    height: int
    width: int
    kernel: int = 3
    stride: int = 1
    dilation: int = 1


LAYERS = (  # layers of MobileNetV2 and DeepLabv3+, then of EfficientNet-B0 and ConvNeXt
    Layer(96, 48, 64, stride=2),
    Layer(144, 24, 32, stride=2),
    Layer(192, 12, 16, stride=2),
    Layer(960, 6, 8, dilation=2),
    Layer(320, 6, 8, dilation=12),
    Layer(960, 22, 30, dilation=2),
    Layer(320, 22, 30, dilation=12),
    Layer(144, 24, 32, kernel=5, stride=2),
    Layer(240, 12, 16, kernel=5),
    Layer(96, 24, 32, kernel=7),
)
STEPS = (
    ("supervised", "deeplabv3plus", "mobilenetv2_100"),
    ("class_bank", "deeplabv3plus", "mobilenetv2_100"),
    ("supervised", "fpn", "efficientnet_b0"),
)
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--precision", nargs="+", default=["bf16", "32"])
    args = parser.parse_args()
    table = Table(HERE / "grouped_conv.csv", ("what", "map", "precision"))
    for precision in args.precision:
        for layer in LAYERS:
            what = f"{layer.kernel} x {layer.kernel}, stride {layer.stride}, dilation {layer.dilation}"
            key = {"what": what, "map": f"{layer.channels} x {layer.height} x {layer.width}", "precision": precision}
            if not table.holds(**key):
                table.append(key | measure_layer(layer, precision, args.repeats), precision)
                Console().print(table.rows()[-1])
        for method, arch, encoder in STEPS:
            key = {"what": f"step of {method}, {arch}-{encoder}", "map": "3 x 96 x 128", "precision": precision}
            if not table.holds(**key):
                table.append(key | measure_step(method, arch, encoder, precision, args.repeats), precision)
                Console().print(table.rows()[-1])


def measure_layer(layer: Layer, precision: str, repeats: int) -> dict[str, Any]:
    """One row for a layer, with a batch of eight."""
    torch.manual_seed(0)
    channels, padding = layer.channels, layer.dilation * (layer.kernel // 2)
    settings = (channels, channels, layer.kernel, layer.stride, padding, layer.dilation, channels, False)
    plain = nn.Conv2d(*settings).to(memory_format=torch.channels_last)
    ours = nn.Sequential(nn.Conv2d(*settings))
    ours.load_state_dict({f"0.{name}": value for name, value in plain.state_dict().items()})
    use_grouped_convs(ours.to(memory_format=torch.channels_last))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    maps = torch.randn(8, channels, layer.height, layer.width).to(dtype)
    maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
    slope = torch.randn_like(plain(maps.float())).to(dtype)

    def gradients(layer: nn.Module) -> tuple[Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            output = layer(maps)
        return torch.autograd.grad(output, [maps, *layer.parameters()], slope)

    seconds = median_seconds({"conv2d": lambda: gradients(plain), "ours": lambda: gradients(ours)}, repeats, CPU)
    with torch.backends.mkldnn.flags(enabled=False):
        weight = plain.weight.detach().double().requires_grad_()
        output = torch.conv2d(maps.detach().double(), weight, None, layer.stride, padding, layer.dilation, channels)
        (right,) = torch.autograd.grad(output, weight, slope.double())
    errors = {name: _error(gradients(layer)[1], right) for name, layer in (("conv2d", plain), ("ours", ours))}
    return _row(seconds) | {f"{name}_error": f"{error:.1g}" for name, error in errors.items()}


def measure_step(method: str, arch: str, encoder: str, precision: str, repeats: int) -> dict[str, Any]:
    """One row for a whole step."""
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder), (96, 128), 11)
        settings = {"name": method} | ({"quality_threshold": 0.0} if method == "class_bank" else {})
        recipe = make_recipe(
            {
                "data": {"root": folder, "labels": 4},
                "net": {"arch": arch, "encoder": encoder, "weights": "none"},
                "method": settings,
                "training": {"labeled_batch": 4, "precision": precision, "device": "cpu"},
            }
        )
        data = prepare_data(recipe)
        fabric = launch_fabric(recipe.training)
        with reading(data, recipe.training, Position(0, 0), 10_000, fabric) as batches:
            batch = next(batches).to(CPU)
        trainers = {name: LateTrainer(recipe.method_type, recipe, data, fabric) for name in ("conv2d", "ours")}
        for layer in trainers["conv2d"].method.modules():
            if type(layer) is GroupedConv2d:
                layer.__class__ = nn.Conv2d  # type: ignore[assignment]
        runs = {name: lambda t=trainer: t.late(batch) for name, trainer in trainers.items()}
        return _row(median_seconds(runs, repeats, CPU)) | {"conv2d_error": "", "ours_error": ""}


def _row(seconds: dict[str, float]) -> dict[str, Any]:
    row = {f"{name}_ms": f"{1000 * value:.3g}" for name, value in seconds.items()}
    return row | {"speedup": f"{seconds['conv2d'] / seconds['ours']:.2f}"}


def _error(gradient: Tensor, right: Tensor) -> float:
    return float((gradient.double() - right).abs().max() / right.abs().max())


if __name__ == "__main__":
    main()
