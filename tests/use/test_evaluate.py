"""Scores of a split: against a slow twin, at full label size, kept in the run."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import fewmask
from fewmask.data.folder import Sample, read_folder
from fewmask.models.build import build_net
from fewmask.run.scores import read_scores
from fewmask.use.deployed import Deployed, probabilities
from fewmask.use.evaluate import score
from fewmask.use.model import Model
from fewmask.use.tables import print_scores
from toy import NAMES, draw_scene, make_dataset, read, save, write_recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Model:
    folder = tmp_path_factory.mktemp("model")
    recipe = write_recipe(folder / "recipe.yaml", dataset)
    return fewmask.load(fewmask.train(recipe, folder / "run"))


def test_evaluation_equals_a_slow_twin(model: Model, dataset: Path) -> None:
    result = model.evaluate("val")
    truth = np.stack([np.asarray(read(path)) for path in sorted((dataset / "val" / "masks").iterdir())])
    images = sorted((dataset / "val" / "images").iterdir())
    labels = np.stack([prediction.labels for prediction in model.predict(images)])
    for index, name in enumerate(NAMES):
        both, either = ((truth == index) & (labels == index)).sum(), ((truth == index) | (labels == index)).sum()
        assert result["per_class"][name] == pytest.approx(both / either)


def test_ignored_pixels_do_not_count(model: Model, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data")
    masks = sorted((data / "val" / "masks").iterdir())
    prediction = model.predict_one(data / "val" / "images" / masks[0].name).labels
    right = np.where(prediction == np.asarray(read(masks[0])), prediction, 255).astype(np.uint8)
    assert (right == 255).any()
    save(right, masks[0])
    for mask in masks[1:]:
        save(np.full((48, 64), 255, np.uint8), mask)
    scores = model.evaluate("val", data=data)
    assert scores["pixel_accuracy"] == 1.0
    assert scores["miou"] == 1.0


def test_scores_are_at_the_full_size_of_the_labels_whatever_the_training_size(tmp_path: Path, tiny_net: Any) -> None:
    image, labels = draw_scene(np.random.default_rng(0), 50, 70)
    save(image, tmp_path / "train" / "images" / "a.png")
    save(labels, tmp_path / "train" / "masks" / "a.png")
    (tmp_path / "dataset.yaml").write_text(f"names: [{', '.join(NAMES)}]\n")
    folder = read_folder(tmp_path)
    deployed = Deployed(build_net(tiny_net, len(NAMES)), 0.5, folder.classes)
    scores = score({"net": deployed}, folder.train, folder.classes)["net"]
    expected = probabilities(deployed, torch.from_numpy(image).permute(2, 0, 1)).argmax(dim=0).numpy()
    assert scores.pixel_accuracy == pytest.approx((expected == labels).mean())


def test_score_reads_every_image_once_and_tells_how_many_there_are(model: Model, dataset: Path) -> None:
    told: list[int] = []
    samples: tuple[Sample, ...] = read_folder(dataset).val
    score(model.networks, samples, model.classes, told.append)
    assert told == [3, 3, 3]


def test_scores_of_every_network_are_kept_in_the_run_under_its_name(model: Model) -> None:
    result = model.evaluate("test")
    assert read_scores(model.run, "test") == result
    assert result["networks"] == list(model.networks)
    assert result["predictor"] == model.shipped
    samples = read_folder(model.recipe.data.root).test
    for name, found in score(model.networks, samples, model.classes).items():
        assert result[name] == found.as_json()
    assert result["miou"] == result[model.shipped]["miou"]


def test_names_of_networks_are_no_markup() -> None:
    scores = {"split": "val", "images": 1, "predictor": "a", "selected": None, "networks": ["m[a]", "m[/b]"]}
    of_one = {"miou": 0.5, "per_class": {"box": 0.5}}
    console = Console(record=True, width=80, file=io.StringIO())
    print_scores(scores | {"m[a]": of_one, "m[/b]": of_one}, console)
    assert "m[a]" in (text := console.export_text())
    assert "m[/b]" in text
