"""AugSeg: the trust in an image, who gives boxes to whom, the loss against plain loops, and the copied teacher."""

import math
from typing import Any

import pytest
import torch

from contract import OFF, SETTLED, build, nudge, toy_batch
from fewmask.augment.view import View
from fewmask.methods import AugSeg
from fewmask.methods.augseg import trust
from fewmask.methods.parts.weak_to_strong import pseudo_labeled, weak_view
from fewmask.models.build import NetConfig
from fewmask.ops.losses import balanced_class_weights, cross_entropy
from plain import plain_cross_entropy, plain_labels


def test_the_trust_in_an_image_equals_plain_loops() -> None:
    logits, valid = 3 * torch.randn(3, 4, 5, 6), torch.rand(3, 5, 6) < 0.7
    valid[2] = False
    expected = []
    for image, counted in zip(logits.double(), valid, strict=True):
        pixels = image.softmax(dim=0).movedim(0, -1)[counted].tolist()
        sure = [(1 + sum(p * math.log(p) for p in pixel) / math.log(4)) * max(pixel) for pixel in pixels]
        expected.append(sum(sure) / max(1, len(sure)))
    assert trust(logits, valid).tolist() == pytest.approx(expected, rel=1e-5)
    certain = torch.tensor([100.0, 0.0])[:, None, None].expand(1, 2, 3, 3)
    assert trust(certain, torch.ones(1, 3, 3, dtype=torch.bool)).item() == 1
    assert trust(torch.zeros(1, 2, 3, 3), torch.ones(1, 3, 3, dtype=torch.bool)).item() == pytest.approx(0, abs=1e-6)


def test_unsure_images_receive_labeled_boxes_and_sure_ones_only_boxes_of_each_other(tiny_net: NetConfig) -> None:
    method, shape = build(AugSeg, tiny_net), (40, 3, 24, 24)
    own = torch.arange(40.0).view(40, 1, 1).expand(40, 24, 24) / 100
    weak = View.of(torch.zeros(shape), torch.arange(40).view(40, 1, 1).expand(40, 24, 24), own)
    labeled = View.of(torch.ones(2, 3, 24, 24), torch.full((2, 24, 24), 99))
    sure = method._mixed(weak, torch.ones(40), labeled)
    assert not (sure.labels == 99).any()
    assert torch.equal(sure.confidence, sure.labels / 100)  # boxes bring labels with their confidence
    given = (sure.labels != weak.labels).float().mean(dim=(1, 2))
    assert given.mean().item() == pytest.approx(0.5, abs=0.1)  # 1 - Beta(4, 4)
    unsure = method._mixed(weak, torch.zeros(40), labeled)
    pasted = unsure.labels == 99
    assert (unsure.confidence[pasted] == 1).all()
    # a box of another image shows as much of its labeled box as it covers, and the own image has none of its own
    assert 0.02 < pasted.float().mean() < 0.2
    off = build(AugSeg, tiny_net, label_aid=False)
    assert not (off._mixed(weak, torch.zeros(40), labeled).labels == 99).any()


def test_the_terms_equal_plain_loops(tiny_net: NetConfig) -> None:
    batch = toy_batch(AugSeg)
    batch.unlabeled.valid[0, :, 30:] = False
    method = build(AugSeg, tiny_net, weak=OFF, class_balance=False, pseudo_weight=2.0)
    nudge(method.teacher)
    teacher_logits = method.teacher(batch.unlabeled.images).logits.detach()
    labels, confidence = plain_labels(teacher_logits, batch.unlabeled.valid)
    threshold = confidence.median().item()
    method.config = method.config.model_copy(update={"confidence_threshold": threshold})
    torch.manual_seed(3)
    losses = method.step(batch, SETTLED).losses
    torch.manual_seed(3)
    labeled = method.view(batch)
    weak = weak_view(method.config, batch.unlabeled).with_pseudo_labels(labels, confidence)
    mixed = method._mixed(weak, trust(teacher_logits, weak.valid), labeled)
    both = method.net(torch.cat([labeled.images, mixed.images])).logits
    expected = 2 * plain_cross_entropy(both[2:], mixed.labels, mixed.confidence, threshold)
    assert losses["pseudo"].item() == pytest.approx(expected, rel=1e-4)
    assert losses["sup"].item() == pytest.approx(plain_cross_entropy(both[:2], labeled.labels), rel=1e-4)


def test_class_weights_can_weigh_pseudo_labels_too_and_then_count_them(tiny_net: NetConfig) -> None:
    batch = toy_batch(AugSeg)
    method = build(AugSeg, tiny_net, weak=OFF, pseudo_balance=True, confidence_threshold=0.0)
    nudge(method.teacher)
    method.step(batch, SETTLED)  # counts the pseudo-labels
    labeled_share, pseudo_share = (
        counts / counts.sum() for counts in (method.frequency.labeled.clone(), method.frequency.pseudo.clone())
    )
    assert not torch.equal(labeled_share, pseudo_share)
    weights = balanced_class_weights(4 * labeled_share + 8 * pseudo_share)  # as many images as build() says
    torch.manual_seed(3)
    losses = method.step(batch, SETTLED).losses
    torch.manual_seed(3)
    labeled = method.view(batch)
    teacher_logits = method.teacher(batch.unlabeled.images).logits.detach()
    weak = pseudo_labeled(weak_view(method.config, batch.unlabeled), teacher_logits)
    mixed = method._mixed(weak, trust(teacher_logits, weak.valid), labeled)
    both = method.net(torch.cat([labeled.images, mixed.images])).logits
    assert losses["sup"].item() == pytest.approx(cross_entropy(both[:2], labeled.labels, weights).item(), rel=1e-4)
    assert losses["pseudo"].item() == pytest.approx(cross_entropy(both[2:], mixed.labels, weights).item(), rel=1e-4)
    unweighted = cross_entropy(both[2:], mixed.labels).item()
    assert losses["pseudo"].item() != pytest.approx(unweighted, rel=1e-2)


def test_the_teacher_is_a_copy_in_the_first_share_of_the_run(tiny_net: NetConfig) -> None:
    method = build(AugSeg, tiny_net, copied_share=0.1, teacher_momentum=0.75)
    for step, student, expected in ((5, 4.0, 4.0), (9, 8.0, 8.0), (10, 4.0, 7.0), (11, 3.0, 6.0)):
        for parameter in method.student.parameters():
            parameter.data.fill_(student)
        method.after_update(method.now(step, 100))
        assert all((parameter == expected).all() for parameter in method.teacher.parameters())


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_rare_labeled_classes_are_pasted_before_colors_and_boxes(
    probability: float, tiny_net: NetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = toy_batch(AugSeg)
    method = build(AugSeg, tiny_net, weak=OFF, rare_paste_probability=probability)
    method.step(batch, SETTLED)  # counts the classes of the labels
    mixed, seen = method._mixed, []

    def noted(weak: View, *others: Any) -> View:
        seen.append(weak)
        return mixed(weak, *others)  # type: ignore[no-any-return]

    monkeypatch.setattr(method, "_mixed", noted)
    method.step(batch, SETTLED)
    pasted = seen[0].confidence == 1
    assert pasted.any() == (probability > 0)
    counts = batch.labeled.labels.flatten().bincount(minlength=4)
    assert not (seen[0].labels[pasted] == counts.argmax()).any()
