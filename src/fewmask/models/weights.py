"""Loads pretrained weights from a file on disk, of which every tensor must fit, or from the hub if it answers."""

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import constants, get_session
from safetensors.torch import load_file
from torch import Tensor, nn

from fewmask.errors import UserError
from fewmask.models.contrast_heads import ContrastHeads
from fewmask.models.lite0 import ENCODER as LITE0
from fewmask.models.lite0 import INSTALL, with_timm_names
from fewmask.models.released import released_heads, released_network
from fewmask.models.segnet import SegNet

NOT_ON_DISK = ("imagenet", "pip", "none")
"""Words that never name a path, even if the working directory has a file of this name."""
CONTAINERS = ("state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "encoder.", "backbone.", "model.", "Scale.")
IMAGENET_HEADS = ("fc.", "head.", "classifier.", "last_linear.")
CLASSIFIER = "network.segmentation_head."
GATE = "gate."
HUB_SECONDS = 5.0
NUM_NAMED = 2


def load_weights(net: SegNet, weights: str) -> None:
    """Load a file into `net`, in place.

    The file is .safetensors, or .pth without Python objects, and holds an encoder or a whole network. An encoder has
    timm's names, or for EfficientNet-Lite0 those of its package; its ImageNet classifier is ignored, and a prefix such
    as `encoder.` is dropped. A network was saved by fewmask or released with a paper; a classifier for other classes is
    ignored, and so is what a method put behind it (`gate`). Everything else is loaded. A run folder stands for its
    student.

    Raises:
        UserError: when the file cannot be read, lacks a tensor, or holds one that the network has no place for.
    """
    path = Path(weights)
    tensors, config = _read(path / "student.safetensors" if path.is_dir() else path)
    tensors = with_timm_names(tensors)
    if any(name.startswith("network.") for name in tensors):
        _load_whole(net, tensors, weights)
    elif released := released_network(_without_prefixes(tensors), config):
        _load_whole(net, released, weights)
    else:
        _load_encoder(net.network.encoder, tensors, weights)


def load_released_heads(heads: ContrastHeads, weights: str) -> None:
    """Load the heads and selectors of a checkpoint of the code of Alonso et al. into `heads`, in place.

    `heads` stay as they are if the weights have no heads, or selectors for other classes.

    Raises:
        UserError: when the file cannot be read, or its heads are of other sizes.
    """
    path = Path(weights)
    if weights in NOT_ON_DISK or not path.is_file():
        return
    state = released_heads(_without_prefixes(_read(path)[0]))
    selectors = "bank_selectors.hidden_weight"
    if selectors in state and len(state[selectors]) == len(heads.get_parameter(selectors)):
        _load(heads, state, weights, "heads")


@contextmanager
def hub_or_cache() -> Iterator[None]:
    """Inside, downloads come from the hub, or at once from the local cache alone if the hub does not answer.

    Otherwise a machine without network would retry every file for most of a minute.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _hub_answers()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


class NotOnHubError(UserError):
    """The pretrained weights of an encoder are neither in the cache of the hub nor to be downloaded."""


def missing_on_hub(encoder: str, error: OSError) -> NotOnHubError:
    """What to tell a person when the pretrained weights of `encoder` could not be had."""
    reason = "no connection" if isinstance(error, FileNotFoundError) else str(error).partition("\n")[0].rstrip(".")
    return NotOnHubError(
        f"the pretrained weights of {encoder} are not on this machine and cannot be downloaded ({reason})",
        "net.weights",
        "Connect to the network once, or give a local file with net.weights=PATH (.safetensors or .pth), "
        f"or take net.encoder={LITE0} after {INSTALL}, "
        "or start from random weights with net.weights=none.",
    )


def _hub_answers() -> bool:
    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception:  # versions of the hub's package have other client libraries, which raise other errors
        return False
    return True


def _read(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """The tensors of a file, and the training's `config` if the file has one."""
    if not path.is_file():
        raise UserError(
            f"there is no weights file {path}",
            "net.weights",
            "Give the path of a .safetensors or .pth file, imagenet, pip, or none.",
        )
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds Python objects beside tensors, which could run code, or is not a weights file",
            "net.weights",
            "Save the state_dict alone, best as .safetensors.",
        ) from error
    except Exception as error:  # torch raises every kind of error for a file of another kind
        raise UserError(
            f"{path} cannot be read as weights: {error!r}",
            "net.weights",
            "Copy or download it again, or give another .safetensors or .pth file.",
        ) from error
    config, tensors = None, {}
    if isinstance(content, Mapping):
        config = content.get("config")
        while container := next((key for key in CONTAINERS if isinstance(content.get(key), Mapping)), None):
            content = content[container]
        tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise UserError(
            f"{path} holds no named tensors", "net.weights", "Save the state_dict of an encoder or a network."
        )
    return tensors, config if isinstance(config, Mapping) else {}


def _load_whole(net: SegNet, tensors: dict[str, Tensor], path: str) -> None:
    own = net.state_dict()
    tensors = {name: tensor for name, tensor in tensors.items() if name in own or not name.startswith(GATE)}
    classifier = {name: tensor for name, tensor in own.items() if name.startswith(CLASSIFIER)}
    if classifier.keys() <= tensors.keys():  # of a classifier with more branches, the first are taken
        tensors = {name: tensor for name, tensor in tensors.items() if name in own or not name.startswith(CLASSIFIER)}
    if any(name in tensors and tensors[name].shape != own[name].shape for name in classifier):
        tensors = tensors | classifier
    _load(net, tensors, path, "network")


def _load_encoder(encoder: nn.Module, tensors: dict[str, Tensor], path: str) -> None:
    tensors = _without_prefixes(tensors)
    timm_names = _timm_names(encoder)
    own_names = {_bare(name): name for name in encoder.state_dict()}
    own_names |= {timm_name: own_names[bare] for bare in list(own_names) if (timm_name := _split(bare, timm_names))}
    # what timm's whole model has beyond the stages we use: later stages, the ImageNet head
    unused = timm_names - own_names.keys()
    renamed = {
        own_names.get(name, name): tensor
        for name, tensor in tensors.items()
        if name in own_names or not (name in unused or name.startswith(IMAGENET_HEADS))
    }
    _load(encoder, renamed, path, "encoder")


def _load(module: nn.Module, tensors: dict[str, Tensor], path: str, part: str) -> None:
    """Load tensors, which must fit exactly; only BatchNorm's batch counters, which nothing reads, may be missing."""
    own = _without_counters(module.state_dict())
    given = _without_counters(tensors)
    absent = [f"{_bare(name)} (not in the file)" for name in own if name not in given]
    surplus = [f"{name} (not in the {part})" for name in given if name not in own]
    misshapen = [
        f"{_bare(name)} ({_shape(given[name])} in the file, {_shape(own[name])} in the {part})"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    if absent or surplus or misshapen:
        num_matched = len(own) - len(absent) - len(misshapen)
        raise UserError(
            f"{path} fits {num_matched} of the {len(own)} tensors of the {part}; the first that do not fit: "
            f"{', '.join(absent[:NUM_NAMED] + surplus[:NUM_NAMED] + misshapen[:NUM_NAMED])}",
            "net.weights",
            "Give weights of the same net.encoder (and net.arch, for a whole network; and classes, for heads).",
        )
    # the encoders of segmentation_models_pytorch change names in a load_state_dict of their own
    nn.Module.load_state_dict(module, tensors, strict=False)


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under a prefix, if there is one: a file with `encoder.*` and `decoder.*` gives only the encoder's."""
    for prefix in PREFIXES:
        part = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if part:
            return _without_prefixes(part)
    return tensors


def _timm_names(encoder: nn.Module) -> set[str]:
    """The names of timm's whole model; for an encoder that timm lacks, the encoder's own."""
    if not hasattr(encoder, "model"):
        return set(encoder.state_dict())
    with torch.device("meta"):
        return set(timm.create_model(encoder.name).state_dict())


def _without_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))


def _bare(name: str) -> str:
    """The name without the wrappers around timm's model."""
    while name.startswith("model."):
        name = name.removeprefix("model.")
    return name


def _split(name: str, timm_names: set[str]) -> str | None:
    """timm's name of a tensor; timm's feature extractors write `stages_0.` for a model's first `stages.0.`."""
    first, dot, rest = name.partition(".")
    pieces = first.split("_")
    spellings = ["_".join(pieces[:cut]) + "." + "_".join(pieces[cut:]) for cut in range(1, len(pieces))]
    return next((spelled for spelled in (f"{s}{dot}{rest}" for s in spellings) if spelled in timm_names), None)
