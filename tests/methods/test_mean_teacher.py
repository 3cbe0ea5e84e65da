"""Mean teacher: its consistency against plain loops, its ramp, and the teacher that is shipped."""

import math

import pytest
import torch

from contract import OFF, build, nudge, toy_batch
from fewmask.methods import MeanTeacherMethod
from fewmask.models.build import NetConfig
from plain import plain_cross_entropy


@pytest.mark.parametrize(("step", "ramp"), [(0, math.exp(-5)), (5, math.exp(-5 / 4)), (10, 1.0), (90, 1.0)])
def test_the_terms_equal_plain_loops(tiny_net: NetConfig, step: int, ramp: float) -> None:
    batch = toy_batch(MeanTeacherMethod)
    images, valid = batch.unlabeled
    valid[0, :, 30:] = False
    method = build(MeanTeacherMethod, tiny_net, weak=OFF, strong=OFF, class_balance=False, consistency_weight=0.5)
    nudge(method.teacher)
    losses = method.step(batch, method.now(step, 100)).losses
    student, teacher = (
        net(images).logits.detach().double().softmax(dim=1).movedim(1, -1)[valid].tolist()
        for net in (method.net, method.teacher)
    )
    distances = [
        sum((own - other) ** 2 for own, other in zip(*pair, strict=True)) for pair in zip(student, teacher, strict=True)
    ]
    consistency = sum(distances) / len(distances)
    assert consistency > 0.01
    assert losses["consistency"].item() == pytest.approx(0.5 * ramp * consistency, rel=1e-4)
    expected = plain_cross_entropy(method.net(batch.labeled.images).logits, batch.labeled.labels)
    assert losses["sup"].item() == pytest.approx(expected, rel=1e-4)


def test_student_and_teacher_see_other_colors_of_the_same_pixels(tiny_net: NetConfig) -> None:
    method, batch, seen = build(MeanTeacherMethod, tiny_net, weak=OFF), toy_batch(MeanTeacherMethod), []
    for net in (method.teacher, method.net):
        net.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    method.step(batch, method.now(50, 100))
    by_teacher, by_student = seen[0], seen[1]
    assert by_teacher.shape == by_student.shape
    assert not torch.equal(by_teacher, by_student)
    assert next(iter(method.networks())) == "teacher"
