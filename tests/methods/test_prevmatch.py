"""PrevMatch: the second label of past states against plain loops, when they are kept, and that nothing else changes."""

from typing import Any

import pytest
import torch

from contract import OFF, build, nudge, toy_batch
from fewmask.methods import PrevMatch, UniMatch
from fewmask.methods.parts.weak_to_strong import drawn_strong_view, weak_view
from fewmask.methods.unimatch import clean_and_dropped
from fewmask.models.build import NetConfig
from plain import plain_cross_entropy, plain_labels

PLAIN: dict[str, Any] = {
    "weak": OFF,
    "strong": OFF,
    "class_balance": False,
    "confidence_threshold": 0.35,
    "past_threshold": 0.3,
}


def test_without_a_past_state_it_is_unimatch(tiny_net: NetConfig) -> None:
    batch = toy_batch(PrevMatch)
    method = build(PrevMatch, tiny_net, **PLAIN)
    other = build(UniMatch, tiny_net, **{name: value for name, value in PLAIN.items() if name != "past_threshold"})
    found = []
    for each in (method, other):
        torch.manual_seed(3)
        found.append({name: loss.item() for name, loss in each.step(batch, each.now(1, 100)).losses.items()})
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_the_terms_equal_plain_loops(tiny_net: NetConfig) -> None:
    batch = toy_batch(PrevMatch)
    batch.unlabeled.valid[0, :, 30:] = False
    method = build(PrevMatch, tiny_net, num_kept=4, num_past=2, most_drawn=1, cutmix_probability=1.0, **PLAIN)
    kept = build(PrevMatch, tiny_net, seed=7, **PLAIN).net
    nudge(kept)
    method.past.keep(kept, torch.tensor(0))
    now = method.now(30, 100)  # the second of four parts: one past state, in slot 0
    torch.manual_seed(3)
    losses = method.step(batch, now).losses

    torch.manual_seed(3)
    labeled, weak = method.view(batch), weak_view(method.config, batch.unlabeled)
    logits = clean_and_dropped(method.net, labeled, weak, 0.5)
    boxes = [drawn_strong_view(method.config, weak)[1] for _ in range(2)]
    past = kept.eval()(weak.images).logits
    terms = {}
    for name, given, threshold in (("now", logits.weak, 0.35), ("past", past, 0.3)):
        taught = weak.with_pseudo_labels(*plain_labels(given, weak.valid))
        views = [pasted(taught) for pasted in boxes]
        strong = method.net(torch.cat([view.images for view in views])).logits.chunk(2)
        first, second = (
            plain_cross_entropy(own, view.labels, view.confidence, threshold)
            for own, view in zip(strong, views, strict=True)
        )
        feature = plain_cross_entropy(logits.dropped, taught.labels, taught.confidence, threshold)
        terms[name] = (0.25 * first + 0.25 * second, 0.5 * feature)
    share = 0.6  # a triangle with its top in the middle, at 30 of 100 steps
    sup = plain_cross_entropy(logits.labeled, labeled.labels)
    expected = {
        "sup": sup / (2 + share),
        "pseudo": terms["now"][0] / (2 + share),
        "feature": terms["now"][1] / (2 + share),
        "past_pseudo": share * terms["past"][0] / (2 + share),
        "past_feature": share * terms["past"][1] / (2 + share),
    }
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-3)
    assert terms["past"] != pytest.approx(terms["now"], rel=0.01)


def test_the_newest_past_states_can_be_drawn_and_never_the_present_one(
    tiny_net: NetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = build(PrevMatch, tiny_net, num_kept=5, num_past=2, most_drawn=2)
    marker = method.net.network.segmentation_head[0].bias
    offered: list[set[int]] = []

    def seen(available: Any, most: int) -> Any:
        offered.append({int(row) for row in available.nonzero()})
        return torch.arange(most), torch.zeros(most)

    monkeypatch.setattr("fewmask.methods.prevmatch.random_mixture", seen)
    images, last = torch.rand(1, 3, 32, 32), dict[int, int]()
    for step in range(20):
        now = method.now(step, 20)
        if now.phase:
            method._past_logits(images, now)
            part, states = step // 4, {last[slot] for slot in offered[-1]}
            assert states == {4 * each + 3 for each in range(max(0, part - 2), part)}  # the last step of a part
        with torch.no_grad():
            marker.fill_(step)
        rows = method.past.rows.clone()
        method.after_update(now)
        (slot,) = (index for index in range(3) if not torch.equal(rows[index], method.past.rows[index]))
        last[slot] = step
    assert len(offered) == 16


def test_past_states_are_in_the_checkpoint_and_no_network_to_score(tiny_net: NetConfig) -> None:
    method = build(PrevMatch, tiny_net)
    method.after_update(method.now(0, 10))
    other = build(PrevMatch, tiny_net, seed=1)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.past.rows, method.past.rows)
    assert method.past.rows.any()
    assert tuple(method.networks()) == ("student",)
