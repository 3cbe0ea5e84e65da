"""DMT: two networks by turns; who learns, who labels, and what stays as it was."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from contract import OFF, begin, build, group_named, nudge, pretrained, stage_named, toy_batch
from fewmask.methods import DMT, Supervised
from fewmask.models.build import NetConfig
from fewmask.run.checkpoint import state_bytes
from fewmask.shapes import IGNORE


def state(module: Any) -> Any:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(one: Any, other: Any) -> Any:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_networks_take_turns_in_stages_that_share_the_run(tiny_net: NetConfig) -> None:
    stages = build(DMT, tiny_net, num_phases=2, first_share=0.4).stages()
    names = ["train", "train_other", "phase1_other", "phase1", "phase2_other", "phase2"]
    assert [stage.name for stage in stages] == names
    assert [stage.share for stage in stages] == pytest.approx([0.2, 0.2, 0.15, 0.15, 0.15, 0.15])


def test_networks_start_differently_and_the_second_may_have_weights_of_its_own(
    tiny_net: NetConfig, tmp_path: Path
) -> None:
    method = build(DMT, tiny_net)
    pairs = zip(method.net.parameters(), method.other.parameters(), strict=True)
    assert any(not torch.equal(*pair) for pair in pairs)
    file = tmp_path / "net.safetensors"
    file.write_bytes(state_bytes(build(Supervised, tiny_net, seed=7).student))
    method = build(DMT, tiny_net, other_weights=str(file))
    assert equal(state(method.other), state(build(Supervised, tiny_net, seed=7).student))
    assert equal(state(method.student), state(build(Supervised, tiny_net).student))
    method = build(DMT, tiny_net.model_copy(update={"weights": str(file)}))
    assert equal(state(method.student), state(build(Supervised, tiny_net, seed=7).student))
    own, theirs = method.student.parameter_groups(), method.other.parameter_groups()
    assert all(map(torch.equal, own["encoder"], theirs["encoder"]))
    for part in ("decoder", "classifier"):
        assert not all(map(torch.equal, own[part], theirs[part]))


def test_only_a_second_start_of_its_own_is_a_path_to_change() -> None:
    config = DMT.Config(other_weights="net.pth")
    assert config.with_weights(lambda path: f"/data/{path}") == DMT.Config(other_weights="/data/net.pth")
    assert DMT.Config().with_weights(lambda path: f"/data/{path}") == DMT.Config()


@pytest.mark.parametrize("stage", ["train", "train_other", "phase1", "phase1_other"])
def test_the_network_that_does_not_learn_stays_bit_identical(tiny_net: NetConfig, stage: str) -> None:
    method, batch = build(DMT, tiny_net), toy_batch(DMT)
    trained = [parameter for group in method.parameter_groups() for parameter in group.parameters]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
    for name in ("train", "train_other", stage):  # so that both have had gradients
        begin(method, stage_named(method, name), batch)
        before = state(method.net), state(method.other), state(method.former)
        for step in range(2):
            losses = method.step(batch, method.now(step, 2, name)).losses
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
    learner, still = (1, 0) if stage.endswith("other") else (0, 1)
    after = state(method.net), state(method.other), state(method.former)
    assert equal(before[still], after[still])
    assert equal(before[2], after[2])
    assert all(
        not torch.equal(before[learner][name], after[learner][name])
        for name in before[learner]
        if name.endswith("running_mean")
    )
    assert method.net.training
    assert method.other.training


def test_in_a_phase_each_learns_from_the_other_as_it_was_before_the_phase(tiny_net: NetConfig) -> None:
    method, batch = build(DMT, tiny_net), toy_batch(DMT)
    nudge(method.other)
    begin(method, stage_named(method, "phase1_other"), batch)
    second = state(method.other)
    thresholds = method.thresholds.clone()
    nudge(method.other)  # it learns
    begin(method, stage_named(method, "phase1"), batch)
    assert equal(state(method.former.network), second)
    assert not torch.equal(method.thresholds, thresholds)
    begin(method, stage_named(method, "phase2_other"), batch)
    assert not equal(state(method.former.network), second)


def test_the_network_that_is_scored_learns_in_the_last_stage(tiny_net: NetConfig) -> None:
    """Looks at val are in that stage."""
    method, batch = build(DMT, tiny_net), toy_batch(DMT)
    last = method.stages()[-1]
    begin(method, last, batch)
    sum(method.step(batch, method.now(0, 10, last.name)).losses.values()).backward()
    assert any(parameter.grad is not None for parameter in method.student.parameters())


@pytest.mark.parametrize("stage", ["phase1", "phase1_other"])
def test_a_phase_weights_pseudo_labels_by_agreement_and_probability(tiny_net: NetConfig, stage: str) -> None:
    method = build(DMT, tiny_net, weak=OFF, agreed_gamma=2.0, disputed_gamma=3.0)
    batch = toy_batch(DMT)
    batch.unlabeled.valid[:, -6:] = False
    for net in (method.net, method.other):
        nudge(net)
    begin(method, stage_named(method, "phase1_other"), batch)
    learner, labeler = (method.net, method.other) if stage == "phase1" else (method.other, method.net)
    labeler = copy.deepcopy(labeler).eval()
    if stage == "phase1":
        nudge(method.other)  # it has learned before the first one's turn
        begin(method, stage_named(method, stage), batch)
    found = method.step(batch, method.now(0, 10, stage))

    images = batch.unlabeled.images
    with torch.no_grad():
        confidence, pseudo_labels = labeler(images).logits.softmax(dim=1).max(dim=1)
    kept = (confidence >= method.thresholds[pseudo_labels]) & batch.unlabeled.valid
    assert 0 < kept.sum() < batch.unlabeled.valid.sum()
    logits = learner(torch.cat([batch.labeled.images, images])).logits
    own_confidence, own_classes = logits[2:].detach().softmax(dim=1).max(dim=1)
    each = F.cross_entropy(logits[2:], pseudo_labels, reduction="none")
    q = (-each.detach()).exp()
    trust = torch.where(own_classes == pseudo_labels, q**2, q**3 * (own_confidence <= confidence))
    num_pixels = kept.sum() + batch.labeled.labels.numel()
    torch.testing.assert_close(found.losses["pseudo"], (trust * each)[kept].sum() / num_pixels, rtol=1e-3, atol=1e-7)
    sup = F.cross_entropy(logits[:2], batch.labeled.labels, ignore_index=IGNORE, reduction="sum") / num_pixels
    torch.testing.assert_close(found.losses["sup"], sup, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.watch["kept"], kept.sum() / batch.unlabeled.valid.sum())


def test_a_phase_goes_on_from_a_state_dict(tiny_net: NetConfig) -> None:
    method, batch = build(DMT, tiny_net), toy_batch(DMT)
    begin(method, stage_named(method, "phase1_other"), batch)
    nudge(method.other)
    begin(method, stage_named(method, "phase1"), batch)
    restored = build(DMT, tiny_net, seed=1)
    restored.load_state_dict(method.state_dict())
    found = []
    for each in (method, restored):
        torch.manual_seed(5)
        found.append(each.step(batch, each.now(1, 10, "phase1")).losses)
    assert found[0] == found[1]


def test_both_encoders_are_in_the_group_of_the_encoder_also_after_a_stage_before(tiny_net: NetConfig) -> None:
    method = build(DMT, tiny_net)
    expected = {id(p) for net in (method.net, method.other) for p in net.network.encoder.parameters()}
    for has_prelude in (False, True):
        if has_prelude:
            pretrained(method)
        assert {id(parameter) for parameter in group_named(method, "encoder")} == expected
        held = [id(parameter) for group in method.parameter_groups() for parameter in group.parameters]
        assert len(held) == len(set(held)) == len([p for p in method.parameters() if p.requires_grad])
