"""Exports a network for torch, for segmentation_models_pytorch, or as weights with their description."""

import io
import json
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save as tensors_as_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.errors import UserError
from fewmask.models.build import NetConfig, build_network
from fewmask.run.atomic import write_bytes, write_text
from fewmask.use.deployed import Deployed
from fewmask.use.export.core import Core, dynamic_shapes, example, exporting

_FORM = "fewmask_model"


def write_safetensors(deployed: Deployed, config: NetConfig, path: Path) -> None:
    """Writes the weights, with the network, the classes and the size of training in the header of the file.

    `Deployed` of a network that `build_net` makes of the header and that loads the weights is this network again. Where
    the method of the run fits the network to itself (`Method.fitted`), the network has to be fitted likewise.
    """
    facts = {"net": json.loads(config.model_dump_json()), **description(deployed)}
    tensors = {name: tensor.contiguous() for name, tensor in deployed.net.state_dict().items()}
    _write(path, tensors_as_bytes(tensors, {_FORM: json.dumps(facts)}))


class Program(nn.Module):
    """A network without its surroundings: it takes images of training size and returns probabilities."""

    mean: Tensor
    std: Tensor

    def __init__(self, deployed: Deployed) -> None:
        super().__init__()
        self.core = Core(deployed.net)
        self.register_buffer("mean", deployed.net.mean.clone())
        self.register_buffer("std", deployed.net.std.clone())

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities [b k h w] of float RGB images in [0, 1] [b 3 h w], whose sides are multiples of the stride."""
        cells = self.core((images - self.mean) / self.std)
        return F.interpolate(cells, images.shape[-2:], mode="bilinear", align_corners=True).softmax(dim=1)


def write_torch(deployed: Deployed, name: str, path: Path) -> None:
    """Writes a program for `torch.export.load(path).module()`, which needs torch alone: that of `Program`.

    The number of images and their size may vary. The file holds a text `fewmask.json` with the classes, the size of
    training, and the stride that the sides of images must be multiples of.
    """
    net = deployed.net.eval()
    facts = json.dumps({**description(deployed), "stride": net.stride})
    content = io.BytesIO()
    with exporting(name):
        program = torch.export.export(Program(deployed).eval(), (example(net),), dynamic_shapes=dynamic_shapes(net))
        torch.export.save(program, content, extra_files={"fewmask.json": facts})
    _write(path, content.getvalue())


def write_smp(deployed: Deployed, config: NetConfig, folder: Path) -> None:
    """Writes a folder for `smp.from_pretrained`, and fewmask.json with what goes before and after the network.

    That network takes normalized images whose sides are multiples of its stride, and returns logits.

    Raises:
        UserError: the architecture is none of segmentation_models_pytorch, or fewmask has changed its layers.
    """
    named = f"{config.arch} over {config.encoder}"
    fix = "Export it as --format onnx, torch or safetensors."
    if config.arch.lower() not in smp.MODEL_ARCHITECTURES_MAPPING:
        raise UserError(f"{config.arch} is no architecture of segmentation_models_pytorch", "--format smp", fix)
    if deployed.net.gate is not None:
        what = (
            f"{named} drops the classes that its image classifier does not see, and segmentation_models_pytorch cannot"
        )
        raise UserError(what, "--format smp", fix)
    network = _as_published(config, len(deployed.classes))
    if not _takes_weights(network, deployed):
        what = f"{named} has layers that segmentation_models_pytorch builds otherwise"
        raise UserError(what, "--format smp", fix)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        network.save_pretrained(folder)
        facts = {"mean": deployed.net.mean.flatten().tolist(), "std": deployed.net.std.flatten().tolist()}
        text = json.dumps({**description(deployed), **facts, "stride": deployed.net.stride}, indent=2)
        write_text(folder / "fewmask.json", text + "\n")
    except OSError as error:
        raise UserError(f"cannot write there ({error.strerror})", folder, "Choose another --out.") from None


def description(deployed: Deployed) -> dict[str, Any]:
    """What prediction needs besides the network."""
    return {"classes": json.loads(deployed.classes.model_dump_json()), "resize": deployed.resize}


def _as_published(config: NetConfig, num_classes: int) -> Any:
    """The network as segmentation_models_pytorch builds it, with its keywords in its own config."""
    network = build_network(config.model_copy(update={"weights": "none"}), num_classes)
    return type(network)(**{**network.config, "encoder_weights": None}) if hasattr(network, "config") else network


@torch.inference_mode()
def _takes_weights(network: Any, deployed: Deployed) -> bool:
    """Loads the weights and says whether the network then gives the same; layers that nothing reads may lack theirs."""
    net = deployed.net.eval()
    try:
        _, left_over = network.load_state_dict(_renamed(net.network.state_dict(), network), strict=False)
    except RuntimeError:  # layers of other sizes
        return False
    images = torch.rand(example(net).shape, generator=torch.Generator().manual_seed(0)).to(net.mean.device)
    expected, found = net(images).logits, network.eval()((images - net.mean) / net.std)
    return not left_over and found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-3)


def _renamed(weights: dict[str, Any], network: Any) -> dict[str, Any]:
    """Weights under the names that they have before `cut_at_the_classifier`; only DPT's differ."""
    if not isinstance(network, smp.DPT):
        return weights
    changed = {}
    for name, tensor in weights.items():
        if name.startswith("decoder.decoder."):
            changed[name.removeprefix("decoder.")] = tensor
        elif name.startswith("decoder.neck."):
            changed["segmentation_head.head." + name.removeprefix("decoder.neck.")] = tensor
        elif name.startswith("segmentation_head."):
            changed[name.replace("segmentation_head.", "segmentation_head.head.", 1)] = tensor
        else:
            changed[name] = tensor
    return changed


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as error:
        raise UserError(f"cannot write it ({error.strerror})", path, "Choose another --out.") from None
