"""Reads networks that the papers' code saved: tells them by the names of their tensors, and renames these.

COCO weights, which half of the field starts from: Hung et al., Adversarial Learning for Semi-Supervised Semantic
Segmentation, BMVC 2018, https://arxiv.org/abs/1802.07934.
Checkpoints: the code of Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from
a Class-wise Memory Bank, ICCV 2021, https://arxiv.org/abs/2104.13415.
docs/weights.md says which images each network expects.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fewmask.errors import UserError

MEANS = {  # of RGB in [0, 255]
    "pascal_voc": (122.67891434, 116.66876762, 104.00698793),
    "cityscapes": (73.15835921, 82.90891754, 72.39239876),
}
BACKBONE = {f"{part}.": f"encoder.model.{part}." for part in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")}
DEEPLABV2 = BACKBONE | {"layer5.conv2d_list.": "segmentation_head.branches."}
DEEPLABV3PLUS = BACKBONE | {
    **{f"aspp.aspp{branch + 1}.atrous_conv.": f"decoder.branches.{branch}.0." for branch in range(4)},
    **{f"aspp.aspp{branch + 1}.bn.": f"decoder.branches.{branch}.1." for branch in range(4)},
    "aspp.global_avg_pool.": "decoder.branches.4.",
    "aspp.conv1.": "decoder.project.0.",
    "aspp.bn1.": "decoder.project.1.",
    "decoder.conv1.": "decoder.detail.0.",
    "decoder.bn1.": "decoder.detail.1.",
    "decoder.pre_last_conv.": "decoder.fuse.",
    "decoder.last_conv.": "segmentation_head.1.",
}
HEADS = {"projection_head": "projector", "prediction_head": "predictor"}
SELECTORS = {"": "prediction_selectors", "memory": "bank_selectors"}
HEAD = re.compile(r"(projection_head|prediction_head)\.([013])\.(\w+)")
SELECTOR = re.compile(r"contrastive_class_selector_(memory)?(\d+)\.([013])\.(\w+)")


def released_network(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """The state of the SegNet that computes what the released network does; None for a file of another kind.

    If the network takes BGR, the channels of its first convolution are reversed, so that it takes RGB.

    Args:
        tensors: tensors of the file, without prefixes.
        config: settings of the training, which the code of Alonso et al. saves beside the tensors.
    """
    is_deeplabv2 = any(name.startswith("layer5.conv2d_list.") for name in tensors)
    if not is_deeplabv2 and not any(name.startswith("aspp.aspp1.") for name in tensors):
        return None
    network = {name: tensor for name, tensor in tensors.items() if not (HEAD.match(name) or SELECTOR.match(name))}
    has_heads = len(network) < len(tensors)
    if is_deeplabv2 and not has_heads and not config:  # the COCO weights expect levels of 0 to 255 minus the mean
        mean, std, bgr = MEANS["pascal_voc"], 1 / 255, True
    else:  # the code of Alonso et al. divides the difference by 255
        (mean, bgr), std = _training(config), 1.0
    if bgr and "conv1.weight" in network:
        network["conv1.weight"] = network["conv1.weight"].flip(1)
    names = DEEPLABV2 if is_deeplabv2 else DEEPLABV3PLUS
    state = {f"network.{_renamed(name, names)}": tensor for name, tensor in network.items()}
    state |= {"mean": torch.tensor(mean).view(3, 1, 1) / 255, "std": torch.full((3, 1, 1), std)}
    if is_deeplabv2:
        state["network._extra_state"] = torch.tensor(bgr)  # a network that takes BGR also has Caffe's layout
    return state


def released_heads(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of ContrastHeads; the file has one selector module per class, and here they are stacked.

    Heads and selectors both are Linear (0), BatchNorm1d (1), an activation (2), Linear (3).
    """
    state, of_classes = {}, defaultdict[str, dict[int, Tensor]](dict)
    for name, tensor in tensors.items():
        if head := HEAD.fullmatch(name):
            layer = {"0": "hidden", "1": "norm", "3": "out"}[head[2]]
            state[f"{HEADS[head[1]]}.{layer}.{head[3]}"] = tensor[None] if layer == "norm" else tensor
        elif selector := SELECTOR.fullmatch(name):
            layer = {"0": "hidden_", "1": "norm.", "3": "out_"}[selector[3]]
            own_name = f"{SELECTORS[selector[1] or '']}.{layer}{selector[4]}"
            of_classes[own_name][int(selector[2])] = tensor.squeeze(0) if layer == "out_" else tensor
    for own_name, by_label in of_classes.items():
        state[own_name] = torch.stack([by_label[label] for label in sorted(by_label)])
    return state


def _training(config: Mapping[str, Any]) -> tuple[tuple[float, float, float], bool]:
    """The mean that was subtracted from RGB in [0, 255], and whether the network took BGR."""
    dataset, training = config.get("dataset"), config.get("training")
    pretraining = training.get("pretraining") if isinstance(training, Mapping) else None
    if not (isinstance(dataset, str) and dataset in MEANS and isinstance(pretraining, str)):
        raise UserError(
            "a checkpoint of Alonso et al.'s code does not say what its network is fed: its config has "
            f"dataset {dataset!r} and training.pretraining {pretraining!r}",
            "net.weights",
            f"Give the file as the training wrote it, with `config`; known datasets are {', '.join(MEANS)}.",
        )
    return MEANS[dataset], pretraining.upper() == "COCO"


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    return next((new + name.removeprefix(old) for old, new in prefixes.items() if name.startswith(old)), name)
