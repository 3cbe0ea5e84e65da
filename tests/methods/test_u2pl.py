"""U2PL: its terms against their definitions in float64, and which pixels become negatives of which classes."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from contract import OFF, build, settled, spied, toy_batch, without_dropout
from fewmask.methods import U2PL, u2pl
from fewmask.models.build import NetConfig
from fewmask.shapes import IGNORE

STRIDE = 8
PLAIN: dict[str, Any] = {
    "class_balance": False,
    "weak": OFF,
    "cutmix_probability": 0,
    "contrast_stride": STRIDE,
    "unreliable_share": 0.4,
}


@pytest.fixture
def batch() -> Any:
    """Two labeled and two unlabeled images; some pixels have no label, some are padding."""
    batch = toy_batch(U2PL)
    batch.labeled.labels[:, -9:] = IGNORE
    batch.unlabeled.valid[:, :, -10:] = False
    return batch


@pytest.fixture(scope="module")
def learned(tiny_net: NetConfig) -> Any:
    return settled(build(U2PL, tiny_net), toy_batch(U2PL)).state_dict()


@pytest.fixture
def make(tiny_net: NetConfig, learned: Any) -> Any:
    def built(**settings: Any) -> Any:
        method = build(U2PL, tiny_net, **PLAIN | settings)
        method.load_state_dict(learned)
        without_dropout(method.head)
        return method

    return built


def cells(maps: Tensor) -> Tensor:
    """Every cell of the grid as a row in float64; the features of the tiny network are as fine as the image."""
    return maps[:, :, ::STRIDE, ::STRIDE].permute(0, 2, 3, 1).flatten(0, 2).double()


def quantile(values: list[float], share: float) -> float:
    return float(np.quantile(np.array(values), share))


def test_every_term_is_its_definition(make: Any, batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    method, progress = make(bank_slots=64), 0.25
    unreliable = 0.4 * (1 - progress)
    drawn_rows, drawn_negatives = (spied(monkeypatch, u2pl, name) for name in ("draw_rows", "draw_with_repeats"))
    losses = method.step(batch, method.now(10, 40)).losses

    images = torch.cat([batch.labeled.images, batch.unlabeled.images])
    with torch.no_grad():
        output, seen = method.student(images), method.teacher(images)
        rows, keys = (
            head(features[:, :, ::STRIDE, ::STRIDE]).permute(0, 2, 3, 1).flatten(0, 2).double()
            for head, features in ((method.head, output.features), (method.average_head.network, seen.features))
        )
    labels = batch.labeled.labels
    assert losses["sup"].item() == pytest.approx(
        F.cross_entropy(output.logits[:2], labels, ignore_index=IGNORE).item(), rel=1e-3
    )

    probabilities, valid = seen.logits.double().softmax(dim=1), batch.unlabeled.valid
    pseudo_labels = probabilities[2:].argmax(dim=1).masked_fill(~valid, IGNORE)
    entropy = -(probabilities * probabilities.log()).sum(dim=1)
    kept = valid & (entropy[2:] < quantile(entropy[2:][valid].tolist(), 1 - unreliable))
    each = F.cross_entropy(output.logits[2:].double(), pseudo_labels, ignore_index=IGNORE, reduction="none")
    assert losses["pseudo"].item() == pytest.approx((each[kept].mean() * valid.sum() / kept.sum()).item(), rel=1e-3)

    classes = torch.cat([labels, pseudo_labels])[:, ::STRIDE, ::STRIDE].flatten().tolist()
    shares, doubt = cells(probabilities), entropy[:, ::STRIDE, ::STRIDE].flatten().tolist()
    num_labeled = len(classes) // 2
    among = [doubt[n] for n in range(num_labeled, len(classes)) if classes[n] != IGNORE]
    low, high = quantile(among, unreliable), quantile(among, 1 - unreliable)
    reliable = [c != IGNORE and (n < num_labeled or doubt[n] <= low) for n, c in enumerate(classes)]
    (_, anchors), (draws,) = drawn_rows, drawn_negatives
    of_classes = []
    for label in range(4):
        own = [n for n, c in enumerate(classes) if c == label and reliable[n]]
        if not own:
            continue
        may_be_drawn = {n for n in own if shares[n, label] > 0.2}
        chosen = anchors.rows[label, anchors.found[label]].tolist()
        assert set(chosen) <= may_be_drawn
        assert len(chosen) == min(8, len(may_be_drawn))
        positive, values = keys[own].mean(dim=0), []
        for place, anchor in enumerate(chosen):
            pull = (F.cosine_similarity(rows[anchor], positive, dim=0) / 0.5).exp()
            bank = method.bank.rows[label, draws[label, place]].double()
            push = (F.cosine_similarity(rows[anchor][None], bank, dim=1) / 0.5).exp().sum()
            values.append(-torch.log(pull / (pull + push)))
        of_classes.append(
            torch.stack(values).mean() if values and method.bank.filled[label] else torch.zeros(()).double()
        )
    assert len(of_classes) > 1
    assert losses["contrast"].item() == pytest.approx(torch.stack(of_classes).mean().item(), rel=1e-3)
    assert high > low


def negatives_of(
    method: Any, probabilities: Tensor, classes: list[int], is_labeled: list[bool], high: list[bool]
) -> Any:
    member = torch.tensor(classes)[:, None] == torch.arange(4)
    return method._negatives(probabilities, member, torch.tensor(is_labeled), torch.tensor(high)).tolist()


def test_negatives_are_unlikely_classes_of_unsure_pixels_and_confused_classes_of_labeled_ones(make: Any) -> None:
    probabilities = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).expand(4, 4)  # the order of the classes is 1, 2, 3, 0
    classes, is_labeled, high = [2, 0, 1, 1], [True, True, False, False], [True, True, True, False]
    expected = [
        [False, True, False, False],  # labeled as 2: of the first two, 1 is confused with it
        [False, True, True, False],  # labeled as 0: both of the first two
        [True, False, False, True],  # unsure: the last two
        [False] * 4,  # sure
    ]
    assert negatives_of(make(), probabilities, classes, is_labeled, high) == expected
    of_third = [[each and rank < 3 for rank, each in zip((3, 0, 1, 2), row, strict=True)] for row in expected]
    assert negatives_of(make(high_rank=3), probabilities, classes, is_labeled, high) == of_third
    released = negatives_of(make(negatives="released"), probabilities, [2, 0, 0, 0], is_labeled, high)
    assert released == [[False] * 4, [False] * 4, [True, False, False, False], [False] * 4]


def test_the_bank_keeps_negatives_at_length_1_and_the_head_is_averaged_with_the_network(make: Any, batch: Any) -> None:
    method = make()
    method.step(batch, method.now(10, 40))
    used = method.bank.rows[method.bank.in_use]
    torch.testing.assert_close(used.norm(dim=1), torch.ones(len(used)))
    before = [parameter.clone() for parameter in method.average_head.parameters()]
    for parameter in method.head.parameters():
        parameter.data += 1.0
    method.after_update(method.now(5000, 10_000))
    for now, was, student in zip(method.average_head.parameters(), before, method.head.parameters(), strict=True):
        torch.testing.assert_close(now, 0.99 * was + 0.01 * student)
