"""UniMatch: its three terms against plain loops, on the views and the dropped channels that a step draws."""

import pytest
import torch
from torch.nn import functional as F

from contract import OFF, SETTLED, build, toy_batch
from fewmask.methods import UniMatch
from fewmask.methods.parts.weak_to_strong import strong_view, weak_view
from fewmask.models.build import NetConfig
from fewmask.models.encoded import Encoded
from plain import plain_cross_entropy, plain_labels


def test_the_terms_equal_plain_loops(tiny_net: NetConfig) -> None:
    batch = toy_batch(UniMatch)
    batch.unlabeled.valid[0, :, 30:] = False
    method = build(UniMatch, tiny_net, weak=OFF, class_balance=False, cutmix_probability=1.0, confidence_threshold=0.35)
    torch.manual_seed(3)
    losses = method.step(batch, SETTLED).losses

    torch.manual_seed(3)
    method.view(batch)
    weak = weak_view(method.config, batch.unlabeled)
    encoded = method.net.encode(torch.cat([batch.labeled.images, batch.unlabeled.images]))
    dropped = Encoded([F.dropout2d(maps, 0.5) for maps in encoded.maps], encoded.tokens, encoded.image)
    logits = method.net.classify(method.net.decode(Encoded.joined([encoded, dropped])), (32, 48))
    weak = weak.with_pseudo_labels(*plain_labels(logits[2:4], weak.valid))
    views = [strong_view(method.config, weak) for _ in range(2)]
    assert not torch.equal(views[0].labels, views[1].labels)  # each view has a box of its own
    strong = method.net(torch.cat([view.images for view in views])).logits.chunk(2)
    first, second = (
        plain_cross_entropy(own, view.labels, view.confidence, 0.35) for own, view in zip(strong, views, strict=True)
    )
    feature = plain_cross_entropy(logits[6:], weak.labels, weak.confidence, 0.35)
    found = {name: loss.item() for name, loss in losses.items()}
    assert found == pytest.approx(
        {
            "sup": plain_cross_entropy(logits[:2], batch.labeled.labels) / 2,
            "pseudo": (0.25 * first + 0.25 * second) / 2,
            "feature": 0.5 * feature / 2,
        },
        rel=1e-4,
    )
    assert 0 < feature < plain_cross_entropy(logits[6:], weak.labels)  # some pixels teach
