"""CPS: the cross terms against plain loops with and without CutMix, and two networks that differ."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from contract import OFF, SETTLED, build, gradients, toy_batch
from fewmask.augment.mix import CutMix
from fewmask.augment.view import View
from fewmask.methods import CPS
from fewmask.methods.parts.weak_to_strong import weak_view
from fewmask.models.build import NetConfig, build_net
from plain import plain_cross_entropy, plain_labels


@pytest.mark.parametrize("mix", ["none", "cutmix"])
def test_the_terms_equal_plain_loops(tiny_net: NetConfig, mix: str) -> None:
    batch = toy_batch(CPS)
    images, valid = batch.unlabeled
    valid[0, :, 30:] = False
    method = build(CPS, tiny_net, weak=OFF, class_balance=False, mix=mix, cross_weight=None)
    torch.manual_seed(3)
    losses = method.step(batch, SETTLED).losses
    nets, weight = (method.net, method.peer), {"none": 1.5, "cutmix": 1.0}[mix]
    of_labeled, of_unlabeled = ([net(each).logits for net in nets] for each in (batch.labeled.images, images))
    labels = [plain_labels(logits, valid)[0] for logits in of_unlabeled]
    logits = of_unlabeled
    if mix == "none":
        logits = [torch.cat(pair) for pair in zip(of_labeled, of_unlabeled, strict=True)]
        known = torch.ones_like(batch.labeled.labels, dtype=torch.bool)
        labels = [plain_labels(each, torch.cat([known, valid]))[0] for each in logits]
    else:
        torch.manual_seed(3)
        method.view(batch)
        weak = weak_view(method.config, batch.unlabeled)
        pasted = CutMix(area_range=(0.25, 0.5), num_boxes=3).draw(weak)
        logits = [net(pasted(View.of(images)).images).logits for net in nets]
        labels = [pasted(View.of(images, each)).labels for each in labels]
        assert not torch.equal(labels[0], plain_labels(of_unlabeled[0], valid)[0])
    cross = plain_cross_entropy(logits[0], labels[1]) + plain_cross_entropy(logits[1], labels[0])
    first, second = (plain_cross_entropy(each, batch.labeled.labels) for each in of_labeled)
    found = {name: loss.item() for name, loss in losses.items()}
    assert found == pytest.approx({"sup": first, "sup_peer": second, "cross": weight * cross}, rel=1e-4)


def test_the_networks_differ_from_the_start_and_both_learn_and_are_scored(tiny_net: NetConfig) -> None:
    method, batch = build(CPS, tiny_net), toy_batch(CPS)
    assert any(not torch.equal(*pair) for pair in zip(method.net.parameters(), method.peer.parameters(), strict=True))
    assert list(method.networks().values()) == [method.net, method.peer]
    assert {"net", "peer"} <= {name.split(".")[0] for name in method.state_dict()}
    for name, reached in (("sup", {"net"}), ("sup_peer", {"peer"}), ("cross", {"net", "peer"})):
        found = gradients(method, method.step(batch, SETTLED).losses[name])
        assert {key.split(".")[0] for key, gradient in found.items() if gradient is not None} == reached


@pytest.mark.parametrize("num_classes", [4, 7])
def test_the_networks_differ_where_the_weights_of_the_recipe_are_those_of_a_whole_network(
    num_classes: int, tiny_net: NetConfig, tmp_path: Path
) -> None:
    """The classifier of a file for other classes is not taken, and both networks draw their own."""
    whole = build_net(tiny_net, num_classes)
    save_file(
        {name: tensor.contiguous() for name, tensor in whole.state_dict().items()}, tmp_path / "whole.safetensors"
    )
    method = build(CPS, tiny_net.model_copy(update={"weights": str(tmp_path / "whole.safetensors")}))
    own, theirs = (
        {name: list(group) for name, group in net.parameter_groups().items()} for net in (method.net, method.peer)
    )
    assert all(map(torch.equal, own["encoder"], theirs["encoder"]))
    if num_classes == 4:
        assert all(map(torch.equal, own["classifier"], whole.parameter_groups()["classifier"]))
    for part in ("decoder", "classifier"):
        assert not all(map(torch.equal, own[part], theirs[part]))


def test_cutmix_asks_for_two_images() -> None:
    assert CPS.needs(CPS.Config()).min_unlabeled_batch == 1
    assert CPS.needs(CPS.Config(mix="cutmix")).min_unlabeled_batch == 2
