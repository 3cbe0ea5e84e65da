"""Exports the shipped network of a run as one ONNX file, and compares it with the network on images of the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fewmask.data.pixels import read_pixels
from fewmask.errors import UserError
from fewmask.run.atomic import write_bytes
from fewmask.use.deployed import Deployed, probabilities
from fewmask.use.export.core import Core, dynamic_shapes, example, exporting
from fewmask.use.onnx_network import OnnxNetwork
from fewmask.use.torch_network import TorchNetwork

AGREEMENT = 0.999
"""The share of pixels on which an exported file must give the same class."""


class Check(NamedTuple):
    """How near an exported file is to the network: over all pixels of some images.

    Attributes:
        agreement: the share of pixels with the same class.
        difference: the largest difference of a probability.
        images: the number of images.
    """

    agreement: float
    difference: float
    images: int


def write_onnx(deployed: Deployed, name: str, path: Path) -> None:
    """Writes the whole way from images to probabilities as an ONNX file.

    Args:
        deployed: the network, the size that it is trained at, and its classes.
        name: what to call it in an error, such as `unet over resnet18`.
        path: the file.

    Raises:
        UserError: a package is missing, the network cannot be traced, or the file cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch.onnx.export needs it

        from fewmask.use.export.onnx_graph import describe, opset, whole_graph
    except ImportError as error:
        raise UserError(f"{error.name} is not installed", "--format onnx", "pip install 'fewmask[onnx]'") from None
    net = deployed.net.eval()
    stride, per_stride = net.stride, TorchNetwork(deployed).cells_per_stride
    with exporting(name):
        # Traced outside of torch.onnx, in which PSPNet of segmentation_models_pytorch pools windows of fixed size.
        traced = torch.export.export(Core(net).eval(), (example(net),), dynamic_shapes=dynamic_shapes(net))
        program = torch.onnx.export(
            traced,
            dynamo=True,
            opset_version=opset(),
            input_names=["padded"],
            output_names=["cells"],
            verbose=False,
        )
        core: Any = program.model_proto
        mean, std = (buffer.flatten().cpu().numpy() for buffer in (net.mean, net.std))
        model = whole_graph(core, mean, std, stride, deployed.resize)
        describe(model, deployed.classes, stride, per_stride, deployed.resize)
        onnx.checker.check_model(model)
    save(model, path)


def save(model: Any, path: Path) -> None:
    """Writes an onnx.ModelProto; raises UserError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, model.SerializeToString())
    except OSError as error:
        raise UserError(f"cannot write it ({error.strerror})", path, "Choose another --out.") from None


def compare(deployed: Deployed, path: Path, images: Sequence[Path]) -> Check:
    """Runs the file and the network on images, each alone and at its own size.

    Raises:
        UserError: an image cannot be read, or onnxruntime cannot run the file.
    """
    network = OnnxNetwork(path, "cpu")
    equal = pixels = 0
    largest = 0.0
    for image in images:
        picture = read_pixels(image)
        expected = probabilities(deployed, torch.from_numpy(picture).permute(2, 0, 1)).cpu().numpy()
        found = network.run("probabilities", picture[None])[0]
        equal += int((found.argmax(axis=0) == expected.argmax(axis=0)).sum())
        pixels += expected[0].size
        largest = max(largest, float(np.abs(found - expected).max()))
    return Check(equal / pixels, largest, len(images))


def refuse_if_other(check: Check, path: Path) -> None:
    """Removes the file and raises UserError if it gives other classes than the network."""
    if check.agreement < AGREEMENT:
        path.unlink(missing_ok=True)
        what = f"the exported file gives the same class on only {100 * check.agreement:.2f} % of the pixels"
        raise UserError(f"{what}, so it was removed", path, "Export it as --format safetensors, or train another net.")
