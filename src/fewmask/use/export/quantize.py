"""Brings an exported ONNX file to 8-bit integers, calibrated on images, and says what that costs on val."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewmask.data.classes import Classes
from fewmask.data.pixels import read_pixels
from fewmask.data.sample import Sample
from fewmask.data.store import FileStore
from fewmask.shapes import IGNORE
from fewmask.use.export.core import quiet
from fewmask.use.export.onnx import save
from fewmask.use.onnx_network import OnnxNetwork
from fewmask.use.scores import Scores, scores_of

CALIBRATION_IMAGES = 32


def quantize(source: Path, target: Path, images: Sequence[Path]) -> None:
    """Writes a copy of an exported file whose convolutions and matrix products are in int8.

    Weights have a scale for each output channel. The range of what flows between layers is the one of the images.

    Args:
        source: the file in float32.
        target: the file to write.
        images: photographs of the kind that the network will see; they need no masks.
    """
    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._inputs = _inputs(images)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._inputs, None)

    onnxruntime.set_default_logger_severity(4)  # errors are raised as well
    metadata = onnx.load(source, load_external_data=False).metadata_props
    with tempfile.TemporaryDirectory() as folder, quiet():
        part = Path(folder) / "int8.onnx"
        quantize_static(
            source,
            part,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )
        model = onnx.load(part)
    del model.metadata_props[:]
    model.metadata_props.extend(metadata)
    save(model, target)


def score_file(path: Path, samples: Sequence[Sample], classes: Classes) -> Scores:
    """The scores of an exported file, as it is run by other programs, at the full size of the masks."""
    network, store = OnnxNetwork(path, "cpu"), FileStore(samples, classes)
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for place in range(len(store)):
        picture = store.picture(place)
        assert picture.labels is not None
        truth = picture.labels.numpy().astype(np.int64)
        found = network.run("labels", picture.image.permute(1, 2, 0).numpy()[None])[0]
        counted = truth != IGNORE
        pairs = truth[counted] * len(classes) + found[counted]
        counts += np.bincount(pairs, minlength=counts.size).reshape(counts.shape)
    return scores_of(torch.from_numpy(counts), classes.names)


def _inputs(images: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for image in images:
        yield {"image": np.ascontiguousarray(np.moveaxis(read_pixels(image), 2, 0))[None]}
