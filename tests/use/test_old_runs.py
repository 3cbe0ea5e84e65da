"""Run folders from before networks were named and all lists were kept, made by hand: they load, predict and go on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import fewmask
from fewmask.data.classes import Classes, write_classes
from fewmask.models.build import build_net
from fewmask.recipe import Recipe, read_recipe, recipe_yaml
from fewmask.run.checkpoint import state_bytes
from fewmask.run.folder import RunFolder
from fewmask.run.scores import read_scores
from toy import NAMES, write_recipe


def old_run(folder: Path, dataset: Path, method: str, networks: tuple[str, ...], score_every: int | None) -> RunFolder:
    """The files that every run had from the first, and the weights of these networks."""
    recipe = read_recipe(write_recipe(folder / "recipe.yaml", dataset, method, score_every=score_every))
    run = RunFolder(folder / "run")
    run.path.mkdir()
    (run.path / "recipe.yaml").write_text(recipe_yaml(recipe))
    write_classes(Classes(names=NAMES), run.path / "dataset.yaml")
    (run.path / "labeled.txt").write_text("".join(f"train{index}\n" for index in range(4)))
    (run.path / "metrics.csv").write_text("step,loss/sup\n2,1.5\n4,1.25\n6,")
    (run.path / "validation.csv").write_text("step,student,teacher\n2,0.25,0.125\n4,0.5,0.25\n")
    for seed, name in enumerate(networks):
        (run.path / f"{name}.safetensors").write_bytes(weights(recipe, seed))
    return run


def weights(recipe: Recipe, seed: int) -> bytes:
    torch.manual_seed(seed)
    return state_bytes(build_net(recipe.net, len(NAMES)))


@pytest.mark.parametrize(
    ("method", "networks", "shipped"),
    [
        ("class_bank", ("student", "teacher"), "student"),
        ("cutmix", ("student", "teacher"), "teacher"),
        ("supervised", ("student",), "student"),
    ],
)
def test_an_old_run_predicts_and_is_scored_by_its_shipped_network(
    method: str, networks: tuple[str, ...], shipped: str, tmp_path: Path, dataset: Path
) -> None:
    run = old_run(tmp_path, dataset, method, networks, None)
    model = fewmask.load(run.path)
    assert tuple(model.networks) == networks
    assert model.shipped == shipped
    scores = model.evaluate("val")
    assert scores["miou"] == scores[shipped]["miou"]
    assert scores["selected"] is None
    image = dataset / "val" / "images" / "val0.png"
    prediction = model.predict_one(image)
    model.shipped = networks[-1]
    assert np.array_equal(model.predict_one(image).confidence, prediction.confidence) == (shipped == networks[-1])

    del scores["networks"]
    run.scores_file("val").write_text(json.dumps(scores | {"teacher": scores.get("teacher")}))
    assert read_scores(run, "val")["networks"] == list(networks)
    assert fewmask.resume(run.path) == run.path  # finished: nothing is trained
    assert run.metrics_file.read_text().endswith("\n6,")


def test_an_old_run_that_has_saved_nothing_yet_is_trained_to_its_end(tmp_path: Path, dataset: Path) -> None:
    run = old_run(tmp_path, dataset, "supervised", (), 2)
    fewmask.resume(run.path)
    assert run.is_finished
    assert fewmask.load(run.path).evaluate("val")["networks"] == ["student"]
