"""Files under the names of the released code, against its networks as originals.py writes them out."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from originals import DIM, SMALL, Names, Original, deeplabv2, deeplabv3plus, enlarged
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fewmask.errors import UserError
from fewmask.methods import ClassBankMethod, Tools
from fewmask.methods.class_bank import ClassBankConfig
from fewmask.models.build import NetConfig, build_net
from fewmask.models.contrast_heads import ContrastHeads
from fewmask.models.released import released_heads, released_network
from fewmask.models.segnet import SegNet
from fewmask.models.weights import load_released_heads

pytestmark = pytest.mark.slow  # half a minute in all

VOC_MEAN = (122.67891434, 116.66876762, 104.00698793)
CITYSCAPES_MEAN = (73.15835921, 82.90891754, 72.39239876)
RESNET50, RESNET101 = (3, 4, 6, 3), (3, 4, 23, 3)
FULL_CHANNELS = (64, 128, 256, 512)


def prepared(images: Tensor, mean: Sequence[float], bgr: bool, divided_by: float) -> Tensor:
    levels = 255 * images - torch.tensor(mean).view(3, 1, 1)
    return (levels.flip(1) if bgr else levels) / divided_by


def save(tensors: Mapping[str, Tensor], path: Path | str) -> str:
    torch.save(dict(tensors), path)
    return str(path)


def small_net(path: Path | str, arch: str = "deeplabv2", num_classes: int = 21, **settings: Any) -> SegNet:
    config = NetConfig(arch=arch, encoder="resnet101", weights=str(path), options=SMALL, **settings)
    return build_net(config, num_classes).eval()


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@torch.no_grad()
def assert_computes(
    net: SegNet,
    original: Callable[[Tensor], tuple[Tensor, Tensor]],
    images: Tensor,
    mean: Sequence[float],
    bgr: bool,
    divided_by: float,
) -> None:
    """`original` takes what its code feeds it and gives logits and features; a tall image shows every dilation."""
    logits, features = original(prepared(images, mean, bgr, divided_by))
    found = net(images)
    assert_close(found.features, features)
    assert_close(found.logits, enlarged(logits, images.shape[-2:]))


def checkpoint(tensors: Mapping[str, Tensor], pretraining: str, dataset: str) -> dict[str, Any]:
    """A file of the code of Alonso et al."""
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 2e-4, "params": [0]}]}
    config = {"version": "2", "dataset": dataset, "training": {"pretraining": pretraining, "learning_rate": 2e-4}}
    return {"iteration": 1000, "optimizer": optimizer, "config": config, "model": dict(tensors)}


@pytest.mark.parametrize("size", [(64, 64), (65, 65), (210, 33)])
@pytest.mark.parametrize(("prefix", "num_branches"), [("", 4), ("Scale.", 2)])
def test_the_coco_file_computes_what_its_network_computes(
    prefix: str, num_branches: int, size: tuple[int, int], tmp_path: Path
) -> None:
    tensors = deeplabv2()
    path = save({f"{prefix}{name}": tensor for name, tensor in tensors.items()}, tmp_path / "coco.pth")
    original = partial(Original(tensors).deeplabv2, caffe=True, num_branches=num_branches)
    net = small_net(path, aspp_branches=num_branches)
    assert_computes(net, original, torch.rand(2, 3, *size), VOC_MEAN, bgr=True, divided_by=1)


def test_the_coco_network_has_the_grid_of_a_pooling_that_rounds_up(tmp_path: Path) -> None:
    net = small_net(save(deeplabv2(), tmp_path / "coco.pth"))
    grids = {side: tuple(net(torch.rand(1, 3, side, side)).features.shape[-2:]) for side in (512, 321, 65)}
    assert grids == {512: (65, 65), 321: (41, 41), 65: (9, 9)}


@pytest.mark.parametrize(
    ("arch", "encoder", "tensors", "num_tensors"),
    [
        ("deeplabv2", "resnet101.tv_in1k", partial(deeplabv2, RESNET101), 528),  # as others count in the COCO file
        ("deeplabv3plus_full", "resnet50.tv_in1k", partial(deeplabv3plus, RESNET50), 312),
    ],
)
def test_a_file_of_full_size_fills_the_network_to_the_last_tensor(
    arch: str, encoder: str, tensors: Callable[[Sequence[int]], Names], num_tensors: int
) -> None:
    with torch.device("meta"):
        net = build_net(NetConfig(arch=arch, encoder=encoder, weights="none"), num_classes=21)
        given = tensors(FULL_CHANNELS)
        found = released_network(
            given | {"projection_head.0.weight": torch.zeros(1)}, checkpoint({}, "", "pascal_voc")["config"]
        )
    own = {name: tensor.shape for name, tensor in net.state_dict().items() if "num_batches" not in name}
    assert len(given) == num_tensors
    assert found is not None
    assert {name: tensor.shape for name, tensor in found.items()} == own


def test_the_classifier_stays_fresh_for_other_classes(tmp_path: Path) -> None:
    tensors = deeplabv2()
    torch.manual_seed(1)
    net = small_net(save(tensors, tmp_path / "coco.pth"), num_classes=19)
    assert torch.equal(net.network.encoder.model.layer4[0].conv2.weight, tensors["layer4.0.conv2.weight"])
    for branch in net.network.segmentation_head.branches:
        assert branch.weight.shape[0] == 19
        assert branch.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_the_recipes_normalization_comes_before_that_of_the_file(tmp_path: Path) -> None:
    path = save(deeplabv2(), tmp_path / "coco.pth")
    net = small_net(path, std=(1, 1, 1))
    assert net.std.flatten().tolist() == [1, 1, 1]
    assert net.mean.flatten().tolist() == pytest.approx([level / 255 for level in VOC_MEAN])
    assert small_net(path, mean=(0.1, 0.2, 0.3)).mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("again", ["load_state_dict", "net.weights"])
def test_a_saved_network_keeps_the_layout_and_the_normalization_of_its_file(again: str, tmp_path: Path) -> None:
    net = small_net(save(deeplabv2(), tmp_path / "coco.pth"))
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, tmp_path / "net.safetensors")
    if again == "net.weights":
        loaded = small_net(tmp_path / "net.safetensors")
    else:
        loaded = small_net("none")
        loaded.load_state_dict(load_file(tmp_path / "net.safetensors"))
    images = torch.rand(1, 3, 65, 65)
    assert torch.equal(loaded(images).logits, net(images).logits)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    ("arch", "pretraining", "dataset", "mean", "num_classes"),
    [
        ("deeplabv2", "COCO", "cityscapes", CITYSCAPES_MEAN, 19),
        ("deeplabv2", "imagenet", "pascal_voc", VOC_MEAN, 21),
        ("deeplabv3plus_full", "imagenet", "cityscapes", CITYSCAPES_MEAN, 19),
    ],
)
def test_a_checkpoint_of_alonso_et_al_computes_what_its_network_computes(
    arch: str,
    pretraining: str,
    dataset: str,
    mean: Sequence[float],
    num_classes: int,
    prefix: str,
    tmp_path: Path,
) -> None:
    coco = pretraining == "COCO"
    original: Callable[[Tensor], tuple[Tensor, Tensor]]
    if arch == "deeplabv2":
        tensors = deeplabv2(num_classes=num_classes)
        original = partial(Original(tensors).deeplabv2, caffe=coco)
    else:
        tensors = deeplabv3plus(num_classes=num_classes)
        original = Original(tensors).deeplabv3plus
    tensors.heads(96, num_classes)
    named = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
    net = small_net(save(checkpoint(named, pretraining, dataset), tmp_path / "best_model.pth"), arch, num_classes)
    assert_computes(net, original, torch.rand(1, 3, 321, 70), mean, bgr=coco, divided_by=255)


def test_a_checkpoint_of_alonso_et_al_without_its_heads_is_still_theirs(tmp_path: Path) -> None:
    tensors = deeplabv2()
    net = small_net(save(checkpoint(tensors, "ImageNet", "cityscapes"), tmp_path / "best_model.pth"))
    original = partial(Original(tensors).deeplabv2, caffe=False)
    assert_computes(net, original, torch.rand(1, 3, 320, 64), CITYSCAPES_MEAN, bgr=False, divided_by=255)


def plain_module(tensors: Mapping[str, Tensor], name: str, slope: float) -> nn.Sequential:
    layers = {number: tensors[f"{name}.{number}.weight"].shape for number in (0, 3)}
    hidden, out = (nn.Linear(shape[1], shape[0]) for shape in layers.values())
    module = nn.Sequential(hidden, nn.BatchNorm1d(DIM), nn.LeakyReLU(slope), out)
    own = {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
    module.load_state_dict(own)
    return module.eval()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_released_heads_and_selectors_compute_what_their_modules_compute(prefix: str, tmp_path: Path) -> None:
    num_classes, tensors = 12, deeplabv2(num_classes=12)  # more than 10: labels are numbers, not words
    tensors.heads(96, num_classes)
    named = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
    heads = ContrastHeads(num_classes, feature_dim=96, dim=DIM).eval()
    load_released_heads(heads, save(checkpoint(named, "COCO", "pascal_voc"), tmp_path / "best_model.pth"))
    classes = torch.randint(0, num_classes, (40,))
    features, rows = torch.randn(40, 96), torch.randn(40, DIM)
    assert_close(heads.projector(features, classes, num_classes), plain_module(tensors, "projection_head", 0)(features))
    assert_close(heads.predictor(rows, classes, num_classes), plain_module(tensors, "prediction_head", 0)(rows))
    for selectors, name in (
        (heads.prediction_selectors, "contrastive_class_selector_"),
        (heads.bank_selectors, "contrastive_class_selector_memory"),
    ):
        modules = [plain_module(tensors, f"{name}{label}", 0.2) for label in range(num_classes)]
        expected = [torch.sigmoid(modules[label](row[None])).item() for row, label in zip(rows, classes, strict=True)]
        assert_close(selectors(rows, classes), torch.tensor(expected))


@pytest.mark.parametrize("encoder", ["resnet50", "resnet50.tv_in1k"])
def test_a_resnet_of_torchvision_loads_into_any_architecture(encoder: str, tmp_path: Path) -> None:
    original = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 2, 1, 1]).eval()
    path = save(original.state_dict(), tmp_path / "resnet50.pth")
    options = {"layers": [1, 2, 1, 1]}
    net = build_net(NetConfig(arch="fpn", encoder=encoder, weights=path, options=options), 5).eval()
    images = torch.rand(1, 3, 64, 96)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    normalized = (images - mean) / std
    with torch.no_grad():
        expected = nn.Sequential(*list(original.children())[:-2])(normalized)
        assert_close(net.network.encoder((images - net.mean) / net.std)[-1], expected)


@pytest.mark.parametrize(
    ("tensors", "settings", "match"),
    [
        (deeplabv2(layers=(2, 2, 3, 1)), {}, r"layer3\.2\.conv1\.weight \(not in the network\)"),
        (deeplabv2(layers=(2, 2, 1, 1)), {}, r"layer3\.1\.conv1\.weight \(not in the file\)"),
        (
            deeplabv2(),
            {"arch": "fpn"},
            r"decoder.*\(not in the file\), .*segmentation_head\.branches\.0\.weight \(not in",
        ),
        (deeplabv2(channels=(8, 12, 16, 32)), {}, r"layer4.* \(32 x 64 x 1 x 1 in the file, 24 x 64 x 1 x 1 in the"),
        (checkpoint(deeplabv3plus(), "imagenet", "cityscapes"), {"arch": "deeplabv3plus"}, r"decoder\.aspp\.0\.convs"),
        (deeplabv3plus(), {"arch": "deeplabv3plus_full"}, r"its config has dataset None and"),
    ],
)
def test_a_file_that_does_not_fit_names_its_first_tensors(
    tensors: Mapping[str, Tensor], settings: Any, match: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=match) as caught:
        small_net(save(tensors, tmp_path / "coco.pth"), **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"training": "COCO"}, "dataset 'cityscapes' and training.pretraining None"),
        ({"training": {"pretraining": ["COCO"]}}, r"training.pretraining \['COCO'\]"),
        ({"dataset": ["cityscapes"]}, r"dataset \['cityscapes'\] and training.pretraining 'COCO'"),
        ({"dataset": "GTA5"}, "dataset 'GTA5' and .* known datasets are pascal_voc, cityscapes"),
    ],
)
def test_a_checkpoint_of_an_unknown_training_is_one_line(changes: dict[str, Any], match: str, tmp_path: Path) -> None:
    file = checkpoint(deeplabv3plus(), "COCO", "cityscapes")
    file["config"] |= changes
    with pytest.raises(UserError, match=match) as caught:
        small_net(save(file, tmp_path / "best_model.pth"), arch="deeplabv3plus_full")
    assert "\n" not in str(caught.value)


def test_heads_of_other_sizes_name_their_first_tensors(tmp_path: Path) -> None:
    tensors = deeplabv2()
    tensors.heads(96, 19)
    message = re.escape(f"projector.hidden.weight ({DIM} x 96 in the file, {DIM} x 64 in the heads)")
    with pytest.raises(UserError, match=message):
        load_released_heads(ContrastHeads(19, feature_dim=64, dim=DIM), save(tensors, tmp_path / "best_model.pth"))


@pytest.mark.parametrize("start", ["none", "no heads", "other classes"])
def test_a_start_without_heads_for_these_classes_leaves_them_alone(start: str, tmp_path: Path) -> None:
    tensors = deeplabv2()
    if start == "other classes":
        tensors.heads(96, 21)
    heads = ContrastHeads(19, feature_dim=96, dim=DIM)
    before = {name: tensor.clone() for name, tensor in heads.state_dict().items()}
    load_released_heads(heads, "none" if start == "none" else save(tensors, tmp_path / "best_model.pth"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in heads.state_dict().items())


def test_class_bank_starts_from_the_heads_of_a_released_checkpoint(tmp_path: Path) -> None:
    tensors = deeplabv2()
    tensors.heads(96, 19)
    file = save(checkpoint(tensors, "COCO", "pascal_voc"), tmp_path / "best_model.pth")
    net = NetConfig(arch="deeplabv2", encoder="resnet101", weights=str(file), options=SMALL)
    expected = {name: tensor for name, tensor in released_heads(tensors).items() if "num_batches" not in name}
    method = ClassBankMethod(ClassBankConfig(dim=DIM), Tools(net, 19, num_labeled=2, num_unlabeled=2))
    for heads in (method.learner.heads, method.average_learner.heads):
        assert all(torch.equal(heads.state_dict()[name], tensor) for name, tensor in expected.items())
