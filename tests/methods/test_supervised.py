"""The baseline: weighted cross-entropy on weakly augmented labeled images, and nothing else."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from contract import OFF, SETTLED, build, toy_batch
from fewmask.data.batch import Batch, Labeled
from fewmask.methods import ClassBankMethod, Supervised
from fewmask.models.build import NetConfig
from fewmask.shapes import IGNORE


@pytest.mark.parametrize("class_balance", [True, False])
def test_the_only_term_is_equation_3_over_the_labels(tiny_net: NetConfig, class_balance: Any) -> None:
    method = build(Supervised, tiny_net, weak=OFF, class_balance=class_balance)
    batch = toy_batch(Supervised)
    batch.labeled.labels[:, -5:] = IGNORE
    losses = method.step(batch, SETTLED).losses
    labels = batch.labeled.labels
    weights = method.frequency.weights() if class_balance else None
    logits = method.student(batch.labeled.images).logits
    summed = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, reduction="sum")
    assert set(losses) == {"sup"}
    assert losses["sup"].item() == pytest.approx((summed / (labels != IGNORE).sum()).item(), rel=1e-4)


def test_unlabeled_images_change_nothing(tiny_net: NetConfig) -> None:
    labeled, unlabeled, *_ = toy_batch(ClassBankMethod)
    found = []
    for batch in (Batch(labeled, unlabeled), Batch(labeled, None)):
        method = build(Supervised, tiny_net)
        torch.manual_seed(1)
        found.append(method.step(batch, SETTLED).losses["sup"])
    assert found[0] == found[1]


def test_it_starts_from_the_network_that_the_class_bank_starts_from(tiny_net: NetConfig) -> None:
    ours, theirs = (build(method, tiny_net).student.state_dict() for method in (Supervised, ClassBankMethod))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_student_is_the_only_network(tiny_net: NetConfig) -> None:
    method = build(Supervised, tiny_net)
    assert method.networks() == {"student": method.student}


def test_the_view_is_the_weak_one_of_the_config(tiny_net: NetConfig) -> None:
    images, labels = toy_batch(Supervised).labeled
    flip = OFF.model_copy(update={"flip_probability": 1.0})
    flipped = build(Supervised, tiny_net, weak=flip).step(Batch(Labeled(images, labels), None), SETTLED)
    mirror = Batch(Labeled(images.flip(3), labels.flip(2)), None)
    plain = build(Supervised, tiny_net, weak=OFF).step(mirror, SETTLED)
    assert flipped.losses["sup"].item() == pytest.approx(plain.losses["sup"].item(), rel=1e-3)
