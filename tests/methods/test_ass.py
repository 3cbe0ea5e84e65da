"""Adversarial alignment: its terms against their definitions, who trains whom, and with which optimizer."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contract import OFF, SETTLED, build, critics, gradients, toy_batch
from fewmask.data.batch import Labeled
from fewmask.methods import SemanticShift
from fewmask.models.build import NetConfig
from fewmask.recipe import TrainingConfig
from fewmask.shapes import IGNORE
from fewmask.training.optimizers import build_optimizers

PLAIN: dict[str, Any] = {"weak": OFF, "class_balance": False}
SEGMENTER, DISCRIMINATORS = ("adv_global", "adv_semantic"), ("disc_global", "disc_semantic")


@pytest.fixture
def batch() -> Any:
    """Two target images, two source images and two unlabeled ones; the target has no pixel of class 3."""
    batch = toy_batch(SemanticShift)
    batch.labeled.labels[:, -5:] = IGNORE
    batch.target.labels[batch.target.labels == 3] = IGNORE
    return batch


def bce(scores: Any, domain: Any) -> Any:
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, domain))


def class_vectors(features: Tensor, labels: Tensor, stride: Any) -> Any:
    """Per image and class that occurs on the grid, the mean vector."""
    found = []
    for image, classes in zip(features[:, :, ::stride, ::stride], labels[:, ::stride, ::stride], strict=True):
        found += [(label, image[:, classes == label].mean(dim=1)) for label in range(4) if (classes == label).any()]
    return found


def score(discriminator: Any, vectors: Any) -> Any:
    """The logits of (class, vector) pairs, one by one."""
    codes = torch.eye(4)
    return torch.stack([discriminator.layers(torch.cat([vector, codes[label]]))[0] for label, vector in vectors])


@pytest.mark.parametrize("stride", [4, 8])
def test_every_term_is_its_definition(tiny_net: NetConfig, batch: Any, stride: Any) -> None:
    method = build(SemanticShift, tiny_net, **PLAIN, stride=stride, global_weight=0.5, semantic_weight=0.25)
    for parameter in critics(method):
        parameter.data *= 4  # far from scores of 0, at which every mean is the same
    losses = method.step(batch, SETTLED).losses
    output, unlabeled = method.student(batch.labeled.images), method.student(batch.unlabeled.images)
    maps, vectors = method.map_discriminator, method.vector_discriminator
    source, target = output.logits[2:].softmax(dim=1), unlabeled.logits.softmax(dim=1)
    target_vectors = class_vectors(output.features[:2], batch.target.labels, stride)
    source_vectors = class_vectors(output.features[2:], batch.source.labels, stride)
    assert {label for label, _ in target_vectors} == {0, 1, 2}
    expected = {
        "sup": F.cross_entropy(output.logits, batch.labeled.labels, ignore_index=IGNORE),
        "adv_global": 0.5 * bce(maps(target), 0.0),
        "adv_semantic": 0.25 * bce(score(vectors, target_vectors), 0.0),
        "disc_global": (bce(maps(source), 0.0) + bce(maps(target), 1.0)) / 2,
        "disc_semantic": (bce(score(vectors, source_vectors), 0.0) + bce(score(vectors, target_vectors), 1.0)) / 2,
    }
    assert (losses["disc_semantic"] - math.log(2)).abs() > 0.01
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {name: loss.item() for name, loss in expected.items()}, rel=1e-3
    )


def test_segmenter_and_discriminators_do_not_train_each_other(tiny_net: NetConfig, batch: Any) -> None:
    method = build(SemanticShift, tiny_net, **PLAIN)
    losses = method.step(batch, SETTLED).losses
    for name in SEGMENTER + DISCRIMINATORS:
        reached = {key for key, found in gradients(method, losses[name]).items() if found is not None and found.any()}
        of_discriminators = {key for key in reached if "discriminator" in key}
        assert reached
        assert of_discriminators == (reached if name in DISCRIMINATORS else set()), name


def test_each_term_trains_one_discriminator(tiny_net: NetConfig, batch: Any) -> None:
    losses = (method := build(SemanticShift, tiny_net, **PLAIN)).step(batch, SETTLED).losses
    for name, of in (("disc_global", "map_discriminator."), ("disc_semantic", "vector_discriminator.")):
        assert {key for key, found in gradients(method, losses[name]).items() if found is not None} == {
            key for key, _ in method.named_parameters() if key.startswith(of)
        }


def test_discriminators_learn_to_tell_the_domains_apart(tiny_net: NetConfig, batch: Any) -> None:
    method = build(SemanticShift, tiny_net, **PLAIN)
    optimizer = torch.optim.AdamW(critics(method), lr=1e-3)
    totals = []
    for _ in range(8):
        losses = method.step(batch, SETTLED).losses
        total = losses["disc_global"] + losses["disc_semantic"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.9 * totals[0]


def test_where_there_is_no_image_and_no_label_nothing_is_aligned(tiny_net: NetConfig, batch: Any) -> None:
    batch.unlabeled.valid.zero_()
    bare = batch._replace(labeled=Labeled(batch.labeled.images, torch.full_like(batch.labeled.labels, IGNORE)))
    losses = build(SemanticShift, tiny_net, **PLAIN).step(bare, SETTLED).losses
    assert all(loss == 0 for loss in losses.values())


def test_the_discriminators_have_an_adam_of_their_own_whose_rate_is_not_the_recipes(tiny_net: NetConfig) -> None:
    training = TrainingConfig(optimizer="sgd", learning_rate=0.1, encoder_rate=0.5, weight_decay=0.3)
    method = build(SemanticShift, tiny_net, discriminator_rate=0.2)
    segmenter, critics = build_optimizers(method.parameter_groups(), training)
    assert [group["lr"] for group in segmenter.param_groups] == pytest.approx([0.05, 0.1])
    assert isinstance(critics, torch.optim.Adam)
    (group,) = critics.param_groups
    assert (group["lr"], group["initial_lr"], group["weight_decay"]) == (0.2, 0.2, 0)
    discriminators = nn.ModuleList([method.map_discriminator, method.vector_discriminator])
    assert {id(parameter) for parameter in group["params"]} == {id(each) for each in discriminators.parameters()}
    of_segmenter = {id(parameter) for group in segmenter.param_groups for parameter in group["params"]}
    assert of_segmenter == {id(parameter) for parameter in method.student.parameters()}
