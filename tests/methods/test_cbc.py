"""CBC: its rounds, what begins them, its pseudo-labels and its loss."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from contract import OFF, begin, build, nudge, pretrained, stage_named, toy_batch
from fewmask.data.batch import Unlabeled
from fewmask.methods import CBC, Supervised
from fewmask.models.build import NetConfig
from fewmask.shapes import IGNORE


def test_rounds_share_evenly_what_the_supervised_stage_leaves(tiny_net: NetConfig) -> None:
    stages = build(CBC, tiny_net, num_rounds=2, first_share=0.5).stages()
    assert [stage[:2] for stage in stages] == [("train", 0.5), ("round1", 0.25), ("round2", 0.25)]
    assert len(build(CBC, tiny_net).stages()) == 6


def test_the_first_stage_is_supervised_training_that_weights_no_class(tiny_net: NetConfig) -> None:
    batch, found = toy_batch(CBC), []
    for kind in (CBC, Supervised):
        method = build(kind, tiny_net, class_balance=False) if kind is Supervised else build(kind, tiny_net)
        torch.manual_seed(1)
        found.append(method.step(batch, method.now(3, 10, "train")).losses)
    assert found[0] == found[1]


def test_a_round_begins_with_the_thresholds_of_the_network_as_it_is(tiny_net: NetConfig) -> None:
    method, batch = build(CBC, tiny_net, sample_every=3), toy_batch(CBC)
    nudge(method.net)
    begin(method, stage_named(method, "round2"), batch)
    assert all(torch.equal(method.net.state_dict()[name], t) for name, t in method.labeler.network.state_dict().items())
    with torch.no_grad():
        probabilities = copy.deepcopy(method.net).eval()(batch.unlabeled.images).logits.softmax(dim=1)
    confidence, classes = (map_.flatten(1)[:, ::3].flatten() for map_ in probabilities.max(dim=1))
    predicted = classes.unique().tolist()
    assert len(predicted) > 1  # else nothing is balanced
    for label in range(4):
        if label not in predicted:
            assert method.thresholds[label] == 1
            continue
        values = confidence[classes == label].sort(descending=True).values
        lowest_kept = values[math.ceil(0.4 * len(values)) - 1]
        assert method.thresholds[label].item() == pytest.approx(
            lowest_kept.item() - 0.0015, abs=0.0015
        )  # a bin lower at most


def test_the_last_round_keeps_everything_and_the_supervised_stage_looks_at_nothing(tiny_net: NetConfig) -> None:
    method, batch = build(CBC, tiny_net), toy_batch(CBC)
    begin(method, stage_named(method, "round1"), batch)
    found = method.thresholds.clone()
    assert found.any()
    nudge(method.net)
    begin(method, stage_named(method, "train"), batch)
    assert torch.equal(method.thresholds, found)
    begin(method, stage_named(method, "round5"), batch)
    assert not method.thresholds.any()
    assert method.step(batch, method.now(0, 10, "round5")).watch["kept"] == 1


def test_a_round_adds_pseudo_labels_of_the_network_before_it_by_its_probability_to_the_ninth(
    tiny_net: NetConfig,
) -> None:
    method, batch = build(CBC, tiny_net, weak=OFF), toy_batch(CBC)
    valid = batch.unlabeled.valid.clone()
    valid[:, -6:] = False
    batch = batch._replace(unlabeled=Unlabeled(batch.unlabeled.images, valid))
    batch.labeled.labels[:, :3] = IGNORE
    begin(method, stage_named(method, "round3"), batch)
    before = copy.deepcopy(method.net).eval()
    nudge(method.net)  # the network goes on, the labels stay
    found = method.step(batch, method.now(0, 10, "round3"))

    with torch.no_grad():
        ratios = before(batch.unlabeled.images).logits.softmax(dim=1) / method.thresholds[:, None, None]
    pseudo_labels = ratios.argmax(dim=1)
    pseudo_labels[(ratios.amax(dim=1) < 1) | ~valid] = IGNORE
    kept, labeled = pseudo_labels != IGNORE, batch.labeled.labels != IGNORE
    assert 0 < kept.sum() < valid.sum()
    logits = method.net(torch.cat([batch.labeled.images, batch.unlabeled.images])).logits
    num_pixels = labeled.sum() + kept.sum()
    each = F.cross_entropy(logits[:2], batch.labeled.labels, ignore_index=IGNORE, reduction="none")
    torch.testing.assert_close(found.losses["sup"], each.sum() / num_pixels, rtol=1e-4, atol=1e-6)
    each = F.cross_entropy(logits[2:], pseudo_labels, ignore_index=IGNORE, reduction="none")
    trust = (-each.detach()).exp() ** 9
    torch.testing.assert_close(found.losses["pseudo"], (trust * each).sum() / num_pixels, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(found.watch["kept"], kept.sum() / valid.sum())


def test_a_round_goes_on_from_a_state_dict(tiny_net: NetConfig) -> None:
    method, batch = build(CBC, tiny_net), toy_batch(CBC)
    nudge(method.net)
    begin(method, stage_named(method, "round1"), batch)
    other = build(CBC, tiny_net, seed=1)
    other.load_state_dict(method.state_dict())
    found = []
    for each in (method, other):
        torch.manual_seed(5)
        found.append(each.step(batch, method.now(1, 10, "round1")).losses)
    assert found[0] == found[1]


def test_a_pool_may_hold_images_of_several_sizes_and_a_stage_before_it_passes_the_pool_on(tiny_net: NetConfig) -> None:
    method = build(CBC, tiny_net, sample_every=1)
    whole = pretrained(method).eval()
    sizes = ((32, 48), (20, 30), (33, 17))
    pool = [Unlabeled(torch.rand(1, 3, *size), torch.ones(1, *size, dtype=torch.bool)) for size in sizes]
    with torch.no_grad():
        whole.open(stage_named(whole, "pretrain"), pool)
        assert not method.thresholds.any()
        whole.open(stage_named(whole, "round1"), pool)
    assert method.thresholds.all()


def test_without_a_pool_nothing_is_kept(tiny_net: NetConfig) -> None:
    method, batch = build(CBC, tiny_net), toy_batch(CBC)
    with torch.no_grad():
        method.begin(stage_named(method, "round1"), [])
    step = method.step(batch, method.now(0, 10, "round1"))
    assert step.watch["kept"] == 0
    assert step.losses["pseudo"] == 0
