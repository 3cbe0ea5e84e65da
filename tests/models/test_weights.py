"""Weights files: timm's names and prefixes, whole networks, and files that do not fit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fewmask.errors import UserError
from fewmask.models.build import NetConfig, build_net
from fewmask.models.image_classifier import ClassGate, ImageClassifier
from fewmask.models.segnet import SegNet
from fewmask.models.weights import load_weights

MOBILENET = Path(__file__).parents[3] / "shared/weights/mobilenetv2_100_imagenet.safetensors"


def random_net(
    encoder: str = "test_resnet", arch: str = "fpn", num_classes: int = 5, weights: str = "none", **options: Any
) -> SegNet:
    return build_net(NetConfig(arch=arch, encoder=encoder, weights=weights, options=options), num_classes)


def whole_model(encoder: str = "test_resnet") -> Any:
    torch.manual_seed(1)
    return timm.create_model(encoder).eval()


def save(tensors: Mapping[str, Tensor], path: Path | str) -> str:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return str(path)


def deepest(net: SegNet, images: Tensor) -> Tensor:
    encoded = net.eval().network.encoder((images - net.mean) / net.std)
    last: Tensor = encoded[0][-1] if isinstance(encoded, tuple) else encoded[-1]
    return last


@pytest.mark.slow
@pytest.mark.skipif(not MOBILENET.exists(), reason=f"{MOBILENET.name} is not in ../shared/weights")
@pytest.mark.parametrize("options", [{}, {"pad_type": "same"}])
def test_the_loaded_encoder_computes_what_timm_computes(options: dict[str, Any]) -> None:
    model = timm.create_model("mobilenetv2_100", **options).eval()
    model.load_state_dict(load_file(MOBILENET))
    net = random_net("mobilenetv2_100", weights=str(MOBILENET), **options)
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected = model.forward_features((images - net.mean) / net.std)
        found = model.bn2(model.conv_head(deepest(net, images)))
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "encoder"),
    [("fpn", "test_resnet"), ("fpn", "test_convnext"), ("fpn", "test_efficientnet"), ("dpt", "test_vit")],
)
def test_timms_names_are_found_in_every_kind_of_encoder(arch: str, encoder: str, tmp_path: Path) -> None:
    model, images = whole_model(encoder), torch.rand(1, 3, 160, 160)
    net = random_net(encoder, arch, weights=save(model.state_dict(), tmp_path / "encoder.safetensors"))
    with torch.no_grad():
        expected = model.forward_intermediates((images - net.mean) / net.std, intermediates_only=True)[-1]
        torch.testing.assert_close(deepest(net, images), expected)


@pytest.mark.parametrize("prefix", ["encoder.", "model.", "module.", "backbone.", "module.encoder.model."])
def test_prefixes_of_an_encoder_are_dropped_and_its_neighbors_ignored(prefix: str, tmp_path: Path) -> None:
    tensors = {f"{prefix}{name}": tensor for name, tensor in whole_model().state_dict().items()}
    tensors["decoder.weight"] = torch.zeros(1)
    net = random_net(weights=save(tensors, tmp_path / "encoder.safetensors"))
    assert torch.equal(net.network.encoder.model.conv1[0].weight, whole_model().conv1[0].weight)


@pytest.mark.parametrize("wrap", [lambda tensors: tensors, lambda tensors: {"state_dict": tensors, "epoch": 3}])
def test_a_pth_file_loads_as_well(wrap: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path) -> None:
    torch.save(wrap(whole_model().state_dict()), tmp_path / "encoder.pth")
    net = random_net(weights=str(tmp_path / "encoder.pth"))
    assert torch.equal(net.network.encoder.model.conv1[0].weight, whole_model().conv1[0].weight)


def test_an_encoder_that_timm_lacks_takes_its_own_names(tmp_path: Path) -> None:
    saved = random_net("mit_b0", "unet")
    tensors = saved.network.encoder.state_dict() | {"head.weight": torch.zeros(1000, 256)}
    loaded = random_net("mit_b0", "unet", weights=save(tensors, tmp_path / "encoder.safetensors"))
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(deepest(loaded, images), deepest(saved, images))


def test_a_saved_network_loads_whole(tmp_path: Path) -> None:
    saved = random_net().eval()
    loaded = random_net(weights=save(saved.state_dict(), tmp_path / "net.safetensors")).eval()
    images = torch.rand(1, 3, 40, 40)
    assert torch.equal(loaded(images).logits, saved(images).logits)


def test_a_network_with_a_gate_loads_without_it(tmp_path: Path) -> None:
    saved = random_net()
    saved.gate = ClassGate(ImageClassifier(saved), threshold=0.2)
    loaded = random_net(weights=save(saved.state_dict(), tmp_path / "net.safetensors")).eval()
    images = torch.rand(1, 3, 40, 40)
    assert torch.equal(loaded(images).features, saved.eval()(images).features)


def test_a_saved_network_of_other_classes_loads_without_its_classifier(tmp_path: Path) -> None:
    saved, loaded = random_net(num_classes=7).eval(), random_net(num_classes=5).eval()
    before = loaded.network.segmentation_head[0].weight.clone()
    load_weights(loaded, save(saved.state_dict(), tmp_path / "net.safetensors"))
    images = torch.rand(1, 3, 40, 40)
    assert torch.equal(loaded(images).features, saved(images).features)
    assert torch.equal(loaded.network.segmentation_head[0].weight, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "given", "match"),
    [
        ("resnet18", "resnet34", r"fits 100 of the 100 .*layer1\.2\.bn1\.bias \(not in the encoder\)"),
        ("resnet34", "resnet18", r"fits 100 of the 180 .*layer1\.2\.conv1\.weight \(not in the file\)"),
        ("mobilenetv2_100", "mobilenetv2_050", r"16 x 3 x 3 x 3 in the file, 32 x 3 x 3 x 3 in the encoder"),
    ],
)
def test_the_file_of_another_encoder_is_refused_by_the_tensors_that_do_not_fit(
    encoder: str, given: str, match: str, tmp_path: Path
) -> None:
    path = save(timm.create_model(given).state_dict(), tmp_path / "encoder.safetensors")
    with pytest.raises(UserError, match=match):
        random_net(encoder, weights=path)


def test_a_saved_network_of_another_architecture_is_refused(tmp_path: Path) -> None:
    path = save(random_net(arch="unet").state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(UserError, match=r"network\.decoder"):
        random_net(arch="fpn", weights=path)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no weights file .*missing"):
        random_net(weights=str(tmp_path / "missing.safetensors"))
    for name in ("broken.safetensors", "broken.pth"):
        (tmp_path / name).write_bytes(b"not weights at all")
        with pytest.raises(UserError, match=name):
            random_net(weights=str(tmp_path / name))
    torch.save({"net": whole_model()}, tmp_path / "objects.pth")
    with pytest.raises(UserError, match="Python objects"):
        random_net(weights=str(tmp_path / "objects.pth"))


@pytest.mark.parametrize("text", ["hello\n", "resnet50\nabc", "a: 1\n", "(", "PK\x03\x04", "version https://git-lfs"])
def test_a_text_in_place_of_weights_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "encoder.pth").write_text(text)
    with pytest.raises(UserError, match=r"net\.weights: .*encoder\.pth") as caught:
        random_net(weights=str(tmp_path / "encoder.pth"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [torch.zeros(3), {0: torch.zeros(3)}, {"epoch": 3}, {"model": {1: torch.zeros(1)}}])
def test_a_file_without_named_tensors_is_told(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "tensor.pth")
    with pytest.raises(UserError, match="no named tensors"):
        random_net(weights=str(tmp_path / "tensor.pth"))
