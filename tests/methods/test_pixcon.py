"""PixCon: its contrast against its definition in float64, who may be an anchor, and what enters the bank."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from contract import OFF, SETTLED, build, settled, spied, toy_batch
from fewmask.methods import PixCon, pixcon
from fewmask.models.build import NetConfig
from fewmask.shapes import IGNORE

STRIDE = 8
PLAIN: dict[str, Any] = {"weak": OFF, "contrast_stride": STRIDE}


@pytest.fixture
def batch() -> Any:
    batch = toy_batch(PixCon)
    batch.labeled.labels[:, -9:] = IGNORE
    return batch


@pytest.fixture(scope="module")
def learned(tiny_net: NetConfig) -> Any:
    return settled(build(PixCon, tiny_net), toy_batch(PixCon)).state_dict()


@pytest.fixture
def make(tiny_net: NetConfig, learned: Any) -> Any:
    def built(**settings: Any) -> Any:
        method = build(PixCon, tiny_net, **PLAIN | settings)
        method.load_state_dict(learned)
        return method

    return built


@pytest.mark.parametrize("anchors", ["clean", "labeled", "confident"])
def test_the_contrast_is_its_definition_and_its_anchors_enter_the_bank(
    make: Any, batch: Any, anchors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = make(anchors=anchors, anchors_per_class=3, most_anchors=7, contrast_weight=0.5, confidence_threshold=0.6)
    bank, in_use = method.bank.rows.double(), method.bank.in_use
    with torch.no_grad():
        output = method.student(batch.labeled.images)
        rows = method.head(output.features[:, :, ::STRIDE, ::STRIDE]).permute(0, 2, 3, 1).flatten(0, 2).double()
    confidence, predicted = output.logits[:, :, ::STRIDE, ::STRIDE].softmax(dim=1).max(dim=1)
    labels = batch.labeled.labels[:, ::STRIDE, ::STRIDE].flatten()
    confidence, predicted = confidence.flatten(), predicted.flatten()
    wanted = {
        "clean": torch.where(predicted == labels, labels, IGNORE),
        "labeled": labels,
        "confident": torch.where((confidence >= 0.6) & (labels != IGNORE), predicted, IGNORE),
    }[anchors]
    draws = spied(monkeypatch, pixcon, "draw_rows")
    loss = method.step(batch, SETTLED).losses["contrast"]

    of_classes, chosen = draws
    flat, classes = of_classes.rows.flatten().tolist(), torch.arange(4).repeat_interleave(of_classes.rows.shape[1])
    for label in range(4):
        drawn = of_classes.rows[label, of_classes.found[label]].tolist()
        own = (wanted == label).nonzero().flatten().tolist()
        assert set(drawn) <= set(own)
        assert len(drawn) == min(3, len(own))
        nearest = F.normalize(rows[drawn], dim=1) @ method.bank.rows[label].double().T
        torch.testing.assert_close(nearest.amax(dim=1), torch.ones(len(drawn)).double(), rtol=0, atol=1e-5)
    values, places = [], chosen.rows[0, chosen.found[0]].tolist()
    assert len(places) == min(7, int(of_classes.found.sum()))
    for place in places:
        likeness = (F.cosine_similarity(rows[flat[place]], bank, dim=2) / 0.1).exp() * in_use
        values.append(-torch.log(likeness[classes[place]].sum() / likeness.sum()))
    assert loss.item() == pytest.approx(0.5 * torch.stack(values).mean().item(), rel=2e-3)
