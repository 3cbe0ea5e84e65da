"""Adversarial learning: its terms against their definitions, when they count, and who trains whom."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from contract import OFF, SETTLED, build, critics, gradients, toy_batch
from fewmask.data.batch import Batch, Labeled, Unlabeled
from fewmask.methods import Adversarial
from fewmask.models.build import NetConfig
from fewmask.shapes import IGNORE

SEGMENTER = ("sup", "adv_labeled", "adv_unlabeled", "semi")


@pytest.fixture
def batch() -> Any:
    """Two labeled and two unlabeled images of 2 x 3 patches; some pixels have no label, some are padding."""
    (images, labels), (more, valid), *_ = toy_batch(Adversarial)
    labels, valid = labels.repeat(1, 2, 2), valid.repeat(1, 2, 2)
    labels[:, -5:], valid[:, :, -20:] = IGNORE, False
    return Batch(Labeled(images.repeat(1, 1, 2, 2), labels), Unlabeled(more.repeat(1, 1, 2, 2), valid))


def outspoken(tiny_net: NetConfig, **settings: Any) -> Any:
    """The method with a discriminator whose scores are far from 0, at which every mean is the same."""
    method = build(Adversarial, tiny_net, weak=OFF, **settings)
    for parameter in critics(method):
        parameter.data *= 3
    return method


def pixel_scores(method: Any, maps: Any) -> Any:
    return F.interpolate(method.discriminator(maps)[:, None], maps.shape[-2:], mode="bilinear")[:, 0]


def bce(scores: Any, target: Any) -> Any:
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, target))


def test_every_term_is_its_definition(tiny_net: NetConfig, batch: Any) -> None:
    method = outspoken(tiny_net, adv_weight=0.5, adv_unlabeled_weight=0.25, semi_weight=0.75)
    (images, labels), (more, valid), *_ = batch
    labeled_logits, logits = method.student(images).logits, method.student(more).logits
    truth = F.one_hot(labels.clamp(max=4), 5)[..., :4].permute(0, 3, 1, 2).float()
    of_labeled, of_unlabeled, of_truth = (
        pixel_scores(method, maps) for maps in (labeled_logits.softmax(dim=1), logits.softmax(dim=1), truth)
    )
    threshold = of_unlabeled[valid].sigmoid().median().item()
    method.config = method.config.model_copy(update={"threshold": threshold})
    losses, watch = method.step(batch, SETTLED)

    passed, is_labeled = valid & (of_unlabeled.sigmoid() > threshold), labels != IGNORE
    told_fake = bce(torch.cat([of_labeled[is_labeled], of_unlabeled[valid]]), 0.0)
    expected = {
        "sup": F.cross_entropy(labeled_logits, labels, ignore_index=IGNORE),
        "adv_labeled": 0.5 * bce(of_labeled[is_labeled], 1.0),
        "adv_unlabeled": 0.25 * bce(of_unlabeled[valid], 1.0),
        "semi": 0.75 * -logits.log_softmax(dim=1).amax(dim=1)[passed].mean(),
        "disc": (told_fake + bce(of_truth[is_labeled], 1.0)) / 2,
    }
    assert (of_unlabeled.max() - of_unlabeled.min()).abs() > 0.01
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {name: loss.item() for name, loss in expected.items()}, rel=1e-3
    )
    assert watch["passed_pixels"].item() == pytest.approx(0.5, abs=0.01)


def test_a_discriminator_that_cannot_tell_costs_ln_2_a_pixel(tiny_net: NetConfig, batch: Any) -> None:
    method = build(Adversarial, tiny_net)
    for parameter in critics(method):
        parameter.data.zero_()
    losses = method.step(batch, SETTLED).losses
    found = [losses[name].item() for name in ("adv_labeled", "adv_unlabeled", "disc")]
    assert found == pytest.approx([0.01 * math.log(2), 0.001 * math.log(2), math.log(2)])


def test_segmenter_and_discriminator_do_not_train_each_other(tiny_net: NetConfig, batch: Any) -> None:
    method = outspoken(tiny_net)
    losses = method.step(batch, SETTLED).losses
    assert set(losses) == {*SEGMENTER, "disc"}
    critics = {name for name, _ in method.named_parameters() if name.startswith("discriminator.")}
    for name, loss in losses.items():
        reached = {key for key, found in gradients(method, loss).items() if found is not None}
        assert reached == critics if name == "disc" else reached and not reached & critics, name


def test_predictions_of_unlabeled_images_are_no_labels_before_a_quarter_of_the_run(
    tiny_net: NetConfig, batch: Any
) -> None:
    method = build(Adversarial, tiny_net, weak=OFF)
    found = [method.step(batch, method.now(step, 20)).losses["semi"].item() for step in (0, 4, 5, 19)]
    assert found[:2] == [0, 0]
    assert found[2] == pytest.approx(found[3])
    assert found[2] > 0


def test_where_no_pixel_passes_the_term_is_0_and_still_a_term(tiny_net: NetConfig, batch: Any) -> None:
    losses, watch = build(Adversarial, tiny_net, threshold=1.0).step(batch, SETTLED)
    assert losses["semi"] == watch["passed_pixels"] == 0
    losses["semi"].backward()


def test_at_a_threshold_of_0_every_pixel_of_the_image_passes(tiny_net: NetConfig, batch: Any) -> None:
    method = build(Adversarial, tiny_net, weak=OFF, threshold=0.0)
    assert method.step(batch, SETTLED).watch["passed_pixels"] == 1


def test_the_discriminator_learns_to_tell_predictions_from_labels(tiny_net: NetConfig, batch: Any) -> None:
    method = build(Adversarial, tiny_net, weak=OFF)
    optimizer = torch.optim.Adam(critics(method), lr=1e-3)
    totals = []
    for _ in range(10):
        loss = method.step(batch, SETTLED).losses["disc"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.8 * totals[0]
