"""A trained model in the hand: it is that of its run, and predicts every form of an image alike."""

import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import fewmask
from fewmask.data.classes import Classes
from fewmask.data.images import read_image
from fewmask.errors import UserError
from fewmask.models.build import build_net
from fewmask.models.committee import Committee
from fewmask.models.segnet import SegNet
from fewmask.report import write_report
from fewmask.use.deployed import Deployed, probabilities
from fewmask.use.model import Model
from fewmask.use.predicting import predict_one
from fewmask.use.torch_network import TorchNetwork
from toy import NAMES, read, write_recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Model:
    folder = tmp_path_factory.mktemp("model")
    recipe = write_recipe(folder / "recipe.yaml", dataset)
    return fewmask.load(fewmask.train(recipe, folder / "run"))


def test_every_form_of_an_image_gives_the_same_prediction(model: Model, dataset: Path) -> None:
    path = dataset / "test" / "images" / "test0.png"
    picture = read(path)
    forms: list[Any] = [path, str(path), picture, np.asarray(picture), np.asarray(picture)[:, ::-1][:, ::-1]]
    first, *others = model.predict(forms)
    assert first.labels.shape == first.confidence.shape == (48, 64)
    assert first.labels.dtype == np.uint8
    assert first.confidence.dtype == np.float32
    for other in others:
        assert np.array_equal(other.labels, first.labels)
        assert np.array_equal(other.confidence, first.confidence)


def test_confidence_is_the_probability_of_the_label(model: Model, dataset: Path) -> None:
    prediction = model.predict_one(dataset / "test" / "images" / "test0.png")
    assert prediction.confidence.min() >= 1 / len(NAMES)
    assert prediction.confidence.max() <= 1
    image = torch.from_numpy(np.array(read(dataset / "test" / "images" / "test0.png"))).permute(2, 0, 1)
    scores = probabilities(model.networks["student"], image)
    assert torch.allclose(scores.sum(dim=0), torch.ones(48, 64))
    assert np.array_equal(scores.argmax(dim=0).numpy(), prediction.labels)


def test_one_image_gives_one_prediction_and_a_list_gives_a_list(model: Model, dataset: Path) -> None:
    path = dataset / "test" / "images" / "test0.png"
    (first,) = model.predict([path])
    assert np.array_equal(model.predict(path).labels, first.labels)
    assert np.array_equal(model.predict(path, tta=True).labels.shape, first.labels.shape)


def test_loaded_model_is_that_of_the_run_and_in_evaluation_mode(model: Model) -> None:
    assert set(model.networks) == {"student", "teacher"}
    assert model.shipped == "student"
    assert not any(module.training for deployed in model.networks.values() for module in deployed.modules())
    assert model.classes.names == NAMES


def test_the_shipped_network_predicts(model: Model, dataset: Path) -> None:
    path = dataset / "test" / "images" / "test0.png"
    scores = {name: probabilities(deployed, read_image(path)) for name, deployed in model.networks.items()}
    assert not torch.equal(scores["student"], scores["teacher"])
    assert np.array_equal(model.predict_one(path).confidence, scores["student"].max(dim=0).values.numpy())


def test_a_run_without_the_weights_of_its_shipped_network_is_not_finished(model: Model, tmp_path: Path) -> None:
    run = Path(shutil.copytree(model.run.path, tmp_path / "run"))
    (run / "student.safetensors").unlink()
    with pytest.raises(UserError, match=r"the training is not finished\. Finish it: fewmask train --resume"):
        fewmask.load(run)


@pytest.fixture(scope="module")
def pair(model: Model, tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Model:
    """The model with a supervised run beside it."""
    folder = tmp_path_factory.mktemp("also")
    recipe = write_recipe(folder / "recipe.yaml", dataset, "supervised", seed=1)
    return fewmask.load(model.run.path, also=[fewmask.train(recipe, folder / "run")])


def test_runs_predict_together_by_the_mean_of_their_probabilities(model: Model, pair: Model, dataset: Path) -> None:
    (second,) = pair.also
    assert list(pair.networks) == ["committee", str(model.run.path), str(second.path)]
    path = dataset / "test" / "images" / "test0.png"
    image = torch.from_numpy(np.array(read(path))).permute(2, 0, 1)
    together, first, other = (probabilities(network, image) for network in pair.networks.values())
    assert torch.equal(first, probabilities(model.networks[model.shipped], image))
    grid = 4 / 255  # the mean is taken on the networks' grid, from which each map is upsampled
    assert (together - (first + other) / 2).abs().mean() < grid
    prediction = pair.predict(path)
    assert np.array_equal(prediction.labels, together.argmax(dim=0).numpy())
    np.testing.assert_allclose(prediction.confidence, together.amax(dim=0).numpy(), atol=1e-5)


def test_a_run_that_is_named_like_a_score_stays_apart_and_two_names_of_one_run_are_found(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("committee", "networks"):
        shutil.copytree(model.run.path, tmp_path / name)
    pair = fewmask.load("committee", also=["networks"])
    assert list(pair.networks) == ["committee", "./committee", "./networks"]
    assert pair.evaluate("test")["networks"] == list(pair.networks)
    with pytest.raises(UserError, match="named twice"):
        fewmask.load("committee", also=[tmp_path / "networks" / ".." / "committee"])


def test_runs_are_not_scored_together_on_images_that_one_of_them_learned_from(tmp_path: Path, dataset: Path) -> None:
    runs = []
    for fold in (0, 1):
        (tmp_path / f"{fold}.txt").write_text(f"train{2 * fold}\ntrain{2 * fold + 1}\n")
        recipe = write_recipe(tmp_path / f"{fold}.yaml", dataset, "supervised", steps=1)
        held_out = {"data.held_out": str(tmp_path / f"{fold}.txt")}
        runs.append(fewmask.train(recipe, tmp_path / f"run{fold}", settings=held_out))
    pair = fewmask.load(runs[0], also=runs[1:])
    with pytest.raises(UserError, match=r"run1: the run has learned from 2 of the 2 images to be scored"):
        pair.evaluate("val")
    assert pair.evaluate("test")["images"] == 3
    with pytest.raises(UserError, match=r"run1: the run has learned from 2 of the 2 images to be scored"):
        write_report(runs, tmp_path / "report.html")
    assert write_report(runs, tmp_path / "report.html", split="test").exists()


def test_networks_on_several_grids_predict_what_their_committee_scores(tiny_net: Any, dataset: Path) -> None:
    torch.manual_seed(0)
    other = tiny_net.model_copy(update={"arch": "deeplabv3plus", "options": {}})
    committee = Committee([build_net(net, len(NAMES)) for net in (tiny_net, other)])
    deployed = Deployed(cast(SegNet, committee), 0.75, Classes(names=NAMES)).eval()
    picture = np.array(read(dataset / "test" / "images" / "test0.png"))
    prediction = predict_one(TorchNetwork(deployed), picture)
    scored = probabilities(deployed, torch.from_numpy(picture).permute(2, 0, 1))
    assert np.array_equal(prediction.labels, scored.argmax(dim=0).numpy())
    np.testing.assert_allclose(prediction.confidence, scored.amax(dim=0).numpy(), atol=1e-5)


def test_a_committee_is_scored_beside_its_members_and_keeps_no_scores(model: Model, pair: Model) -> None:
    kept = {path.name: path.read_bytes() for path in model.run.path.iterdir() if path.is_file()}
    scores = pair.evaluate("test")
    assert (scores["predictor"], scores["selected"]) == ("committee", None)
    assert scores["networks"] == list(pair.networks)
    assert scores["miou"] == scores["committee"]["miou"]
    alone = model.evaluate("val")
    assert pair.evaluate("val")[str(model.run.path)] == alone["student"]
    now = {path.name: path.read_bytes() for path in model.run.path.iterdir() if path.is_file()}
    assert now | {"scores_val.json": b""} == kept | {"scores_val.json": b""}


@pytest.mark.parametrize(
    ("settings", "what"),
    [({"data.resize": 0.5}, "sees images at another size"), (None, "named twice"), ("names", "has other classes")],
)
def test_runs_that_do_not_fit_together_are_refused_in_one_line(
    model: Model, tmp_path: Path, dataset: Path, settings: Any, what: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(model.run.path, other)
    if settings is None:
        other = model.run.path
    elif settings == "names":
        classes = other / "dataset.yaml"
        classes.write_text(classes.read_text().replace(NAMES[1], "lorry"))
    else:
        recipe = other / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace("resize: null", "resize: 0.5"))
    with pytest.raises(UserError, match=what):
        fewmask.load(model.run.path, also=[other])
