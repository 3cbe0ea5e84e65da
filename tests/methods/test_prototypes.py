"""Prototypes: what is removed, what a class is, that nothing else is learned, and that a run loads what it made."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from contract import OFF, SETTLED, begin, build, toy_batch, trainer_of
from fewmask.methods import Prototypes
from fewmask.models.build import NetConfig
from fewmask.models.prototypes import PlainFeatures
from fewmask.shapes import IGNORE
from toy import command, write_recipe

STRIDE = 8
PLAIN: dict[str, Any] = {"weak": OFF, "class_balance": False}


@pytest.fixture
def batch() -> Any:
    batch = toy_batch(Prototypes)
    batch.labeled.labels[:, -9:] = IGNORE
    return batch


def begun(tiny_net: NetConfig, batch: Any, **settings: Any) -> Any:
    method = build(Prototypes, tiny_net, **PLAIN | settings)
    begin(method, method.stages()[0], batch)
    return method


def test_the_strongest_directions_of_a_blank_image_are_removed_and_no_others() -> None:
    features, blank = PlainFeatures(6, 3, cluster_similarity=None), torch.zeros(1, 6, 4, 4)
    blank[0, 0], blank[0, 2], blank[0, 4] = 5.0, torch.randn(4, 4), 0.3 * torch.randn(4, 4)
    features.remove(blank)
    maps = torch.randn(2, 6, 3, 5)
    plain = features([maps])
    torch.testing.assert_close(plain.norm(dim=1), torch.ones(2, 3, 5))
    kept = features.basis.any(dim=0).sum()
    assert kept == 3  # the position moves in two directions, and the normalization couples them with the constant one
    within = torch.tensor([0, 2, 4])
    assert plain[:, within].abs().max() < 1e-5
    torch.testing.assert_close(plain[:, [1, 3, 5]], F.normalize(maps[:, [1, 3, 5]], dim=1))


def test_cells_that_resemble_each_other_share_their_features() -> None:
    features = PlainFeatures(4, 0, cluster_similarity=0.9)
    one, other = torch.tensor([1.0, 0.1, 0.0, 0.0]), torch.tensor([1.0, -0.1, 0.0, 0.0])
    far = torch.tensor([0.0, 0.0, 2.0, 0.0])
    plain = features([torch.stack([one, other, far], dim=1)[None, :, None]])[0, :, 0]
    torch.testing.assert_close(plain, torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]).T)


def test_a_class_is_the_mean_over_the_images_of_its_mean_feature_and_the_loss_trains_the_scale_alone(
    tiny_net: NetConfig, batch: Any
) -> None:
    method = begun(tiny_net, batch)
    encoder = [each.clone() for each in method.net.network.encoder.state_dict().values()]
    trainer, means = trainer_of(method), torch.zeros(4, method.net.feature_dim, dtype=torch.float64)
    for seed in range(2):
        images, labels = toy_batch(Prototypes, seed=seed).labeled
        trainer.step(method.now(seed, 10), toy_batch(Prototypes, seed=seed))
        method.net.eval()
        features = method.net.features(images).double()
        for image in range(2):
            for label in range(4):
                inside = labels[image, ::STRIDE, ::STRIDE] == label
                if inside.any():
                    means[label] += features[image][:, inside].mean(dim=1)
        method.net.train()
    prototypes = method.classes.compare.weight[:, :, 0, 0].double()
    torch.testing.assert_close(prototypes, F.normalize(means, dim=1), rtol=0, atol=1e-5)
    assert method.classes.log_scale != torch.tensor(10.0).log()
    for now, before in zip(method.net.network.encoder.state_dict().values(), encoder, strict=True):
        assert torch.equal(now, before)


def test_a_pixel_has_the_nearest_class_whatever_the_scale(tiny_net: NetConfig, batch: Any) -> None:
    method = begun(tiny_net, batch)
    method.step(batch, SETTLED)
    method.eval()
    images, found = batch.labeled.images, []
    for scale in (0.1, 4.0):
        method.classes.log_scale.data.fill_(scale)
        found.append(method.net.classify_cells(method.net.features(images)).argmax(dim=1))
    assert torch.equal(*found)
    cosines = torch.einsum("bdhw,kd->bkhw", method.net.features(images), method.classes.compare.weight[:, :, 0, 0])
    assert torch.equal(found[0], cosines.argmax(dim=1))


@pytest.mark.slow
def test_a_finished_run_predicts_with_its_prototypes(
    tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, {"name": "prototypes", "blank_size": 64})
    assert command(capsys, "train", recipe, "--out", tmp_path / "run").code == 0
    assert command(capsys, "evaluate", tmp_path / "run", "--split", "val").code == 0
