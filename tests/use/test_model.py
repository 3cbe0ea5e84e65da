"""A trained model in the hand: it is that of its run, and predicts every form of an image alike."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fewmask
from fewmask.data.images import read_image
from fewmask.errors import UserError
from fewmask.use.deployed import probabilities
from fewmask.use.model import Model
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
