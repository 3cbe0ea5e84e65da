"""The three baselines of domain adaptation: which images each of them learns from."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from contract import OFF, SETTLED, build, critics, pretrained, toy_batch
from fewmask.data.batch import Labeled
from fewmask.methods import Joint, SemanticShift, SourceOnly, Supervised, TargetOnly
from fewmask.models.build import NetConfig


def loss_of(kind: Any, net: Any, batch: Any, **settings: Any) -> Any:
    method = build(kind, net, weak=OFF, class_balance=False)
    torch.manual_seed(1)
    return method.step(batch, SETTLED).losses["sup"]


def changed(batch: Any, part: Any) -> Any:
    """Other images and labels on one side."""
    count = len(batch.labeled.images) - batch.num_source
    images, labels = batch.labeled.images.clone(), batch.labeled.labels.clone()
    side = slice(count) if part == "target" else slice(count, None)
    images[side], labels[side] = 1 - images[side], (labels[side] + 1) % 4
    return batch._replace(labeled=Labeled(images, labels))


@pytest.mark.parametrize("part", ["target", "source"])
def test_joint_looks_at_both(tiny_net: NetConfig, part: Any) -> None:
    batch = toy_batch(Joint)
    assert loss_of(Joint, tiny_net, batch) != loss_of(Joint, tiny_net, changed(batch, part))


@pytest.mark.parametrize("kind", [SourceOnly, TargetOnly])
def test_on_one_domain_it_is_supervised_training(tiny_net: NetConfig, kind: Any) -> None:
    """Which domain it is, the engine sees to."""
    batch = toy_batch(kind)
    assert batch.num_source == 0
    assert loss_of(kind, tiny_net, batch) == loss_of(Supervised, tiny_net, batch)


def test_joint_is_the_mean_over_the_pixels_of_both(tiny_net: NetConfig) -> None:
    batch = toy_batch(Joint)
    logits = build(Joint, tiny_net, weak=OFF, class_balance=False).student(batch.labeled.images).logits
    expected = F.cross_entropy(logits, batch.labeled.labels)
    torch.testing.assert_close(loss_of(Joint, tiny_net, batch, weak=OFF, class_balance=False), expected)


def test_joint_pastes_nothing_from_one_domain_into_the_other(tiny_net: NetConfig) -> None:
    method, batch = build(Joint, tiny_net, weak=OFF.model_copy(update={"classmix_probability": 1.0})), toy_batch(Joint)
    black = batch._replace(labeled=Labeled(batch.labeled.images.clone(), batch.labeled.labels))
    black.source.images.zero_()
    view = method.view(black)
    assert not view.images[2:].any()
    assert (view.images[:2] > 0).any(dim=1).all()
    assert not torch.equal(view.images[:2], black.target.images)  # so that there was something to paste


def test_what_each_wants_of_the_source() -> None:
    kinds = (Supervised, SourceOnly, TargetOnly, Joint, SemanticShift)
    assert [kind.needs(kind.Config()).source for kind in kinds] == [
        "optional",
        "alone",
        "never",
        "required",
        "required",
    ]


def test_a_pre_trained_method_keeps_its_critics(tiny_net: NetConfig) -> None:
    method = build(SemanticShift, tiny_net, discriminator_rate=0.3)
    before = list(map(id, critics(method)))
    pretrained(method)
    (group,) = (group for group in method.parameter_groups() if group.name == "critics")
    assert list(map(id, group.parameters)) == before
    assert group.optimizer is not None
    assert group.optimizer.learning_rate == 0.3
