"""UniMatch V2: its terms against plain loops, its dropout, and the vision transformer of the paper."""

import pytest
import torch

from contract import OFF, SETTLED, build, nudge, toy_batch
from fewmask.methods import UniMatchV2
from fewmask.methods.parts.feature_dropout import dropped_apart
from fewmask.methods.parts.weak_to_strong import strong_view, weak_view
from fewmask.models.build import NetConfig
from plain import plain_cross_entropy, plain_labels


def test_the_terms_equal_plain_loops(tiny_net: NetConfig) -> None:
    batch = toy_batch(UniMatchV2)
    batch.unlabeled.valid[0, :, 30:] = False
    method = build(UniMatchV2, tiny_net, weak=OFF, class_balance=False, cutmix_probability=1.0)
    nudge(method.teacher)
    teacher_logits = method.teacher(batch.unlabeled.images).logits
    labels, confidence = plain_labels(teacher_logits, batch.unlabeled.valid)
    threshold = confidence.median().item()
    method.config = method.config.model_copy(update={"confidence_threshold": threshold})

    torch.manual_seed(3)
    losses = method.step(batch, SETTLED).losses
    torch.manual_seed(3)
    method.view(batch)
    weak = weak_view(method.config, batch.unlabeled).with_pseudo_labels(labels, confidence)
    views = [strong_view(method.config, weak) for _ in range(2)]
    labeled = method.net(batch.labeled.images).logits
    encoded = dropped_apart(method.net.encode(torch.cat([view.images for view in views])))
    strong = method.net.classify(method.net.decode(encoded), (32, 48)).chunk(2)
    first, second = (
        plain_cross_entropy(own, view.labels, view.confidence, threshold)
        for own, view in zip(strong, views, strict=True)
    )
    assert losses["sup"].item() == pytest.approx(plain_cross_entropy(labeled, batch.labeled.labels) / 2, rel=1e-4)
    assert losses["pseudo"].item() == pytest.approx((first + second) / 4, rel=1e-4)


def test_a_vision_transformer_takes_a_step() -> None:
    options = {"decoder_intermediate_channels": [16] * 4, "decoder_fusion_channels": 16}
    net = NetConfig(arch="dpt", encoder="test_vit", weights="none", options=options)
    method, batch = build(UniMatchV2, net), toy_batch(UniMatchV2)
    losses = method.step(batch, SETTLED).losses
    torch.stack(list(losses.values())).sum().backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(parameter.grad is not None for parameter in method.student.parameters())
