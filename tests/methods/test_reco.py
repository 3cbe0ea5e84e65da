"""ReCo: its terms against their definitions in float64, and its three ways to mix."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from contract import OFF, SETTLED, build, settled, spied, toy_batch
from fewmask.methods import ReCo, reco
from fewmask.models.build import NetConfig
from fewmask.shapes import IGNORE

STRIDE = 8
PLAIN: dict[str, Any] = {"weak": OFF, "strong": OFF, "contrast_stride": STRIDE}


@pytest.fixture
def batch() -> Any:
    """Two labeled and two unlabeled images; some pixels have no label, some are padding."""
    batch = toy_batch(ReCo)
    batch.labeled.labels[:, -9:] = IGNORE
    batch.unlabeled.valid[0, :, -10:] = False
    return batch


@pytest.fixture(scope="module")
def learned(tiny_net: NetConfig) -> Any:
    return settled(build(ReCo, tiny_net), toy_batch(ReCo)).state_dict()


@pytest.fixture
def make(tiny_net: NetConfig, learned: Any) -> Any:
    def built(**settings: Any) -> Any:
        method = build(ReCo, tiny_net, **PLAIN | settings)
        method.load_state_dict(learned)
        return method

    return built


def cells(maps: Tensor) -> Tensor:
    """Every cell of the grid as a row in float64; the features of the tiny network are as fine as the image."""
    return maps[:, :, ::STRIDE, ::STRIDE].permute(0, 2, 3, 1).flatten(0, 2).double()


def test_every_term_is_its_definition(make: Any, batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    method = make()
    draws, negative_draws = spied(monkeypatch, reco, "draw_rows"), spied(monkeypatch, reco, "other_class_draws")
    views = spied(monkeypatch, method, "_strong")
    losses = method.step(batch, SETTLED).losses

    (view,), (anchors,), (drawn,) = views, draws, negative_draws
    with torch.no_grad():
        labeled, strong = method.student(batch.labeled.images), method.student(view.images)
        coarse = torch.cat([labeled.features, strong.features])[:, :, ::STRIDE, ::STRIDE]
        rows = method.head(coarse).permute(0, 2, 3, 1).flatten(0, 2).double()
    sure = [(view.confidence[image][view.labels[image] != IGNORE] >= 0.35).double().mean().item() for image in range(2)]
    each = F.cross_entropy(strong.logits.double(), view.labels, ignore_index=IGNORE, reduction="none")
    pseudo = (each * torch.tensor(sure)[:, None, None]).sum() / (view.labels != IGNORE).sum()
    assert 0 < min(sure) < max(sure) <= 1
    assert losses["pseudo"].item() == pytest.approx(pseudo.item(), rel=1e-3)

    trusted = view.labels.masked_fill(view.confidence < 0.2, IGNORE)
    classes = torch.cat([batch.labeled.labels, trusted])[:, ::STRIDE, ::STRIDE].flatten().tolist()
    shares = torch.cat([cells(labeled.logits), cells(strong.logits)]).softmax(dim=1)
    present, of_classes = sorted(set(classes) - {IGNORE}), []
    for label in present:
        own = [n for n, each in enumerate(classes) if each == label]
        hard = {n for n in own if shares[n, label] < 0.35}
        chosen = anchors.rows[label, anchors.found[label]].tolist()
        assert set(chosen) <= hard
        assert len(chosen) == min(8, len(hard))
        positive, values = rows[own].mean(dim=0), []
        for place, anchor in enumerate(chosen):
            negatives = drawn[label, place].tolist()
            assert all(classes[n] not in (label, IGNORE) for n in negatives)
            pull = (F.cosine_similarity(rows[anchor], positive, dim=0) / 0.5).exp()
            push = (F.cosine_similarity(rows[anchor][None], rows[negatives], dim=1) / 0.5).exp().sum()
            values.append(-torch.log(pull / (pull + push)))
        of_classes.append(torch.stack(values).mean() if values else torch.zeros((), dtype=torch.float64))
    assert len(present) > 1
    assert losses["contrast"].item() == pytest.approx(torch.stack(of_classes).mean().item(), rel=1e-3)


@pytest.mark.parametrize("mix", ["classmix", "cutmix", "cutout"])
def test_what_is_mixed_brings_its_pseudo_labels_along(make: Any, batch: Any, mix: str) -> None:
    images, valid = batch.unlabeled
    view = make(mix=mix)._strong(batch.unlabeled)
    with torch.no_grad():
        labels = make().teacher(images).logits.argmax(dim=1).masked_fill(~valid, IGNORE)
    moved = ((view.images - images).abs() > 1e-3).any(dim=1)  # a sampling rounds
    assert 0 < moved.float().mean() < 1
    assert torch.equal(view.labels[~moved], labels[~moved])
    given = torch.full_like(labels, IGNORE) if mix == "cutout" else labels.roll(1, dims=0)
    assert torch.equal(view.labels[moved], given[moved])
    assert make(mix=mix).needs(make(mix=mix).config).min_unlabeled_batch == (1 if mix == "cutout" else 2)
