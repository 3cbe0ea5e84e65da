"""A network in an exported .onnx file, run by onnxruntime; needs no torch and no run folder."""

import json
import math
import os
from collections.abc import Sequence
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from fewmask.data.classes import Classes
from fewmask.data.opening import regular_file
from fewmask.data.size import Resize
from fewmask.errors import UserError, one_line
from fewmask.use.network import PLAIN, Maps, View
from fewmask.use.predicting import predict_given, predict_one
from fewmask.use.prediction import Prediction
from fewmask.use.scaling import Side

FORMAT = "1"
"""The format of the metadata; a file of another one is refused."""
_SMALLEST = 1e-30  # of a probability, so that its logarithm is finite
_ANEW = "Give a file that `fewmask export` wrote."


class OnnxNetwork:
    """The protocol `Network` over onnxruntime.

    Args:
        path: a file that `fewmask export --format onnx` wrote.
        device: `cpu`, `cuda`, or `auto`, which is cuda where onnxruntime has it.
        gpu: the number of the GPU.

    Raises:
        UserError: onnxruntime is not installed, the file is damaged, or it is no export of fewmask.
    """

    memory, band = 2**25, 2**18

    def __init__(self, path: Path, device: str = "auto", gpu: int = 0) -> None:
        self.path, self._session = path, _session(path, device, gpu)
        metadata = self._session.get_modelmeta().custom_metadata_map
        if "fewmask_format" not in metadata:
            raise UserError("this ONNX file is no export of fewmask: its metadata lacks the classes", path, _ANEW)
        if metadata["fewmask_format"] != FORMAT:
            what = f"the file has format {metadata['fewmask_format']!r}, and this version reads {FORMAT}"
            raise UserError(what, path, "Export it anew, or use the version of fewmask that wrote it.")
        try:
            self.classes = Classes(**json.loads(metadata["classes"]))
            resize, self.stride = json.loads(metadata["resize"]), int(metadata["stride"])
            per_stride = json.loads(metadata["cells_per_stride"])
            self.resize: Resize = tuple(resize) if isinstance(resize, list) else resize
            self.cells_per_stride: int | None = per_stride
        except (KeyError, ValueError, TypeError, ValidationError, UserError) as error:
            raise UserError(f"the metadata is damaged ({one_line(error)})", path, _ANEW) from None

    def predict(self, images: Any, tta: bool = False) -> Any:
        """A `Prediction` for one image, or a list of them, as `Model.predict` gives them."""
        return predict_given(self, images, tta)

    def predict_one(self, image: Any) -> Prediction:
        """The prediction for one image."""
        return predict_one(self, image)

    def resized(self, pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """The picture [h w 3] as training resizes it, up to one level."""
        return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))

    def scores(
        self, images: NDArray[np.uint8], views: Sequence[View], grid: tuple[int, int] | None
    ) -> NDArray[np.float32]:
        """See `Network.scores`."""
        height, width = images.shape[1:3]
        if grid is None:
            return self.run("cells", images, (height, width))
        if tuple(views) == PLAIN:
            found = self.run("probabilities", images, (height, width))
        else:
            found = np.stack([self._viewed(images, view) for view in views]).mean(axis=0, dtype=np.float32)
        scores = np.log(np.maximum(found, _SMALLEST))
        return np.pad(scores, ((0, 0), (0, 0), (0, grid[0] - height), (0, grid[1] - width)), mode="edge")

    def run(self, output: str, images: NDArray[np.uint8], size: tuple[int, int] | None = None) -> NDArray[Any]:
        """An output of the file (`probabilities`, `labels` or `cells`) for images [b h w 3].

        Args:
            output: the name of the output.
            images: uint8 RGB.
            size: the (height, width) at which the network sees the images; None: the one that it is trained at.

        Raises:
            UserError: there is not enough memory.
        """
        import onnxruntime

        given = {"image": np.ascontiguousarray(np.moveaxis(images, 3, 1))}
        if size is not None:
            given["size"] = np.array(size, np.int64)
        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True
        try:
            (found,) = self._session.run([output], given, options)
        except MemoryError:
            raise UserError("the memory is full", self.path, "Take smaller tiles (--tile 512).") from None
        except Exception as error:  # onnxruntime has an exception for each kind of failure, and no common one
            fix = "Take smaller tiles (--tile 512) if memory is short, or export it anew."
            raise UserError(f"onnxruntime fails: {one_line(error)[:300]}", self.path, fix) from None
        result: NDArray[Any] = found
        return result

    def _viewed(self, images: NDArray[np.uint8], view: View) -> NDArray[np.float32]:
        height, width = images.shape[1:3]
        size = (max(2, round(height * view.scale)), max(2, round(width * view.scale)))
        found = self.run("probabilities", images[:, :, ::-1] if view.mirrored else images, size)
        return found[..., ::-1] if view.mirrored else found

    def blank(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Zeros."""
        return np.zeros(shape, np.float32)

    def own(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """The array itself."""
        return array

    def maps(self, rows: NDArray[np.float32], columns: Side, entropy: bool) -> Maps:
        """See `Network.maps`."""
        if columns.is_identity:
            scores = rows[..., : columns.image]
        else:
            parts = (rows[..., places] * weights for places, weights in _taps(columns))
            scores = reduce(np.add, parts)
        best, labels = scores[0].copy(), np.zeros(scores.shape[1:], np.uint8)
        for label in range(1, len(scores)):  # np.argmax over the first axis takes several times as long
            labels[scores[label] > best] = label
            np.maximum(best, scores[label], out=best)
        powers = np.exp(scores - best)
        total = powers.sum(axis=0)
        spread = None
        if entropy:  # -sum p log p with p = e^(s - best) / total
            mean = (powers * (scores - best)).sum(axis=0) / total
            spread = np.clip((np.log(total) - mean) / math.log(len(scores)), 0, 1)
        return Maps(labels, 1 / total, spread)


@lru_cache(maxsize=4)
def _taps(columns: Side) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    places, weights = columns.taps()
    return [(place, weight) for place, weight in zip(places, weights, strict=True) if weight.any()]


def _session(path: Path, device: str, gpu: int) -> Any:
    try:
        import onnxruntime
    except ImportError:
        fix = "Install it: pip install 'fewmask[onnx]', or onnxruntime alone."
        raise UserError("onnxruntime is not installed", path, fix) from None
    has_gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device not in ("auto", "cpu", "cuda") or (device == "cuda" and not has_gpu):
        raise UserError(f"onnxruntime has no device {device!r} here", "--device", "Choose auto or cpu.")
    providers: list[Any] = ["CPUExecutionProvider"]
    if has_gpu and device != "cpu":
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": gpu}))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as well
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        options.intra_op_num_threads = int(threads)
    try:
        with regular_file(path) as file:
            content = file.read()
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except FileNotFoundError:
        raise UserError("there is no such file", path, "Export a run: fewmask export RUN --format onnx.") from None
    except OSError as error:
        raise UserError(f"the file cannot be read ({error.strerror or error})", path, _ANEW) from None
    except Exception as error:  # as above
        raise UserError(f"onnxruntime cannot load it: {one_line(error)[:300]}", path, _ANEW) from None
