"""Prediction of a trained run beside a plain loop, by time and by memory, and ONNX beside PyTorch.

    python benchmarks/predict.py RUN IMAGE [--megapixels 1 2 4] [--memory 4 100 400]
    python benchmarks/predict.py tiny IMAGE --megapixels

The second line measures the memory with an untrained network that computes little: a U-Net of two classes at a quarter
of the resolution.

Each row is one size. Images are copies of IMAGE, side by side. The plain loop decodes with Pillow, runs the network on
the whole image, and saves mask, overlay and confidence with Pillow. Rows go to benchmarks/predict.csv.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.pixels import read_pixels
from fewmask.models.build import NetConfig, build_net
from fewmask.use.deployed import Deployed, probabilities
from fewmask.use.export.onnx import write_onnx
from fewmask.use.model import Model, load
from fewmask.use.network import Network
from fewmask.use.onnx_network import OnnxNetwork
from fewmask.use.predict import predict_files
from fewmask.use.raster import opened_sink
from fewmask.use.raster.sink import Look
from fewmask.use.results import KINDS, Results
from fewmask.use.torch_network import TorchNetwork
from measure import median_seconds
from table import ROOT, Table

REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder, or `tiny`")
    parser.add_argument("image", type=Path)
    parser.add_argument("--megapixels", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--memory", type=int, nargs="*", default=[4, 100, 400])
    parser.add_argument("--alone", type=Path, help="predict this image in this process, and print the peak memory")
    args = parser.parse_args()
    is_tiny = args.run == Path("tiny")
    memory = "memory of a tiny network" if is_tiny else "memory"
    with tempfile.TemporaryDirectory() as folder:
        if args.alone:
            network = tiny_network() if is_tiny else load(args.run, "cpu").network
            predict(network, args.alone, Path(folder))
            print(own_peak())
            return
        table = Table(ROOT / "benchmarks" / "predict.csv", ("what", "megapixels"))
        for size in args.megapixels:
            if not table.holds(what="time", megapixels=size):
                found = times(load(args.run, "cpu"), args.image, size, Path(folder))
                table.append({"what": "time", "megapixels": size, **found}, "32")
        for size in args.memory:
            if not table.holds(what=memory, megapixels=size):
                path = enlarged(args.image, size, Path(folder))
                found = {"plain": "", "ours": f"{peak(args, path):.0f}", "onnx": "", "ratio": "", "onnx_ratio": ""}
                table.append({"what": memory, "megapixels": size, **found}, "32")


def times(model: Model, image: Path, megapixels: int, folder: Path) -> dict[str, str]:
    """Median seconds of the plain loop, of prediction by torch and of prediction by onnxruntime; and their ratios."""
    path, file = enlarged(image, megapixels, folder), folder / "model.onnx"
    if not file.exists():
        write_onnx(model.networks[model.shipped], "the network", file)
    onnx = OnnxNetwork(file, "cpu")
    runs = {
        "plain": lambda: plain_loop(model, path, folder),
        "ours": lambda: predict(model.network, path, folder / "ours"),
        "onnx": lambda: predict(onnx, path, folder / "onnx"),
    }
    seconds = median_seconds(runs, REPEATS, torch.device("cpu"))
    found = {name: f"{value:.4g}" for name, value in seconds.items()}
    ratios = {"ratio": seconds["ours"] / seconds["plain"], "onnx_ratio": seconds["onnx"] / seconds["ours"]}
    return found | {name: f"{value:.2f}" for name, value in ratios.items()}


def tiny_network() -> TorchNetwork:
    """A network whose passes take little memory and time."""
    options = {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}
    config = NetConfig(arch="unet", encoder="test_resnet", weights="none", options=options)
    return TorchNetwork(Deployed(build_net(config, 2), 0.25, Classes(names=("one", "other"))))


def predict(network: Network, path: Path, out: Path) -> None:
    """As `fewmask predict --force`."""
    predict_files(network, str(path), Results(out, KINDS[:3], network.classes), {}, force=True)


def plain_loop(model: Model, path: Path, out: Path) -> None:
    """What one would write by hand."""
    pixels = read_pixels(path)
    found = probabilities(model.networks[model.shipped], torch.from_numpy(pixels).permute(2, 0, 1))
    confidence, labels = (maps.numpy() for maps in found.max(dim=0))
    colors = np.array(model.classes.colors, np.uint8)[labels]
    Image.fromarray(labels.astype(np.uint8)).save(out / "mask.png")
    Image.fromarray((pixels // 2 + colors // 2).astype(np.uint8)).save(out / "overlay.png")
    Image.fromarray((confidence * 255).round().astype(np.uint8)).save(out / "confidence.png")


def enlarged(image: Path, megapixels: int, folder: Path) -> Path:
    """Copies of the image side by side as a square PNG, which is written in pieces."""
    path = folder / f"{megapixels}.png"
    pixels, side = read_pixels(image), round((megapixels * 1e6) ** 0.5)
    row = np.tile(pixels, (1, -(-side // pixels.shape[1]), 1))[:, :side]
    with opened_sink(path, side, side, Look(channels=3)) as sink:
        for top in range(0, side, len(row)):
            sink.write(row[: side - top])
    return path


def peak(args: argparse.Namespace, path: Path) -> float:
    """The peak memory of a process of its own that predicts the image, in MiB."""
    command = [sys.executable, __file__, str(args.run), str(args.image), "--alone", str(path)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def own_peak() -> float:
    """The most MiB that this process held at once. `ru_maxrss` would also count its parent before the start."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 2**10


if __name__ == "__main__":
    main()
