"""Error-correcting supervision: targets by hand, terms against their definitions, and who trains whom."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from contract import OFF, SETTLED, build, critics, gradients, toy_batch
from fewmask.data.batch import Labeled, Unlabeled
from fewmask.methods import ErrorCorrection
from fewmask.methods.ecs import corrected, correction_targets
from fewmask.models.build import NetConfig
from fewmask.shapes import IGNORE

SEGMENTER = {"sup", "regularizer", "pseudo"}
PLAIN: dict[str, Any] = {"weak": OFF}


@pytest.fixture
def batch() -> Any:
    batch = toy_batch(ErrorCorrection)
    batch.labeled.labels[:, -5:] = IGNORE
    batch.unlabeled.valid[:, :, :20] = False
    return batch


def row(*pixels: Any) -> Any:
    """Logits [1 k 1 n] of n pixels, each given as k numbers."""
    return torch.tensor(pixels, dtype=torch.float32).T[None, :, None]


def test_the_corrector_has_to_call_right_pixels_correct_and_to_name_the_class_of_wrong_ones() -> None:
    logits = row([2, 0, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0])
    labels = torch.tensor([[[0, 2, 2, IGNORE]]])
    assert correction_targets(logits, labels).tolist() == [[[3, 2, 3, IGNORE]]]


def test_a_target_is_the_prediction_where_called_correct_and_else_the_best_class_of_the_corrector() -> None:
    logits = row([0, 5, 0], [0, 5, 0], [0, 5, 0])
    target = corrected(logits, row([0, 0, 0, 2], [0, 0, 3, 2], [0, 4, 0, 0]))
    assert target.labels.tolist() == [[[1, 2, 1]]]
    assert target.called_correct.tolist() == [[[True, False, False]]]
    powers = torch.tensor([2.0, 3.0, 4.0]).exp()
    others = torch.tensor([3.0, 2 + torch.tensor(2.0).exp(), 3.0])
    torch.testing.assert_close(target.certainty[0, 0], powers / (powers + others))


def test_every_term_is_its_definition(tiny_net: NetConfig, batch: Any) -> None:
    weights: dict[str, Any] = {"regularizer_weight": 0.5, "pseudo_weight": 0.25, "correct_weight": 0.3}
    method = build(ErrorCorrection, tiny_net, **PLAIN, **weights)
    for parameter in method.corrector.network.segmentation_head.parameters():
        parameter.data *= 4  # far from judgments that are all alike
    found = method.step(batch, SETTLED)
    segment, correct = method.student, method.corrector
    (images, labels), (others, valid) = batch.labeled, batch.unlabeled
    logits, other_logits = segment(images).logits, segment(others).logits
    judged, other_judged = (
        correct(x, y.softmax(dim=1)).softmax(dim=1) for x, y in ((images, logits), (others, other_logits))
    )

    known, right = labels != IGNORE, logits.argmax(dim=1) == labels
    targets = torch.where(right, 4, labels)[known]
    assert 0.1 < right[known].float().mean() < 0.9
    pixel_weights = torch.where(targets == 4, 0.3, 1.0)
    per_pixel = -judged.movedim(1, -1)[known].gather(1, targets[:, None]).log().squeeze(1)
    sure, kept = other_judged.max(dim=1).values, other_judged.argmax(dim=1) == 4
    assert 0.05 < kept[valid].float().mean() < 0.95
    pseudo_labels = torch.where(kept, other_logits.argmax(dim=1), other_judged[:, :4].argmax(dim=1))
    unlabeled_loss = F.cross_entropy(other_logits, pseudo_labels, reduction="none") * sure
    expected = {
        "sup": F.cross_entropy(logits, labels, ignore_index=IGNORE),
        "regularizer": -0.5 * judged[:, 4][known].log().mean(),
        "corrector": (pixel_weights * per_pixel).sum() / pixel_weights.sum(),
        "pseudo": 0.25 * unlabeled_loss[valid].mean(),
    }
    assert {name: loss.item() for name, loss in found.losses.items()} == pytest.approx(
        {name: loss.item() for name, loss in expected.items()}, rel=1e-3
    )
    assert found.watch["called_correct"].item() == pytest.approx(kept[valid].float().mean().item())


def test_segmenter_and_corrector_do_not_train_each_other(tiny_net: NetConfig, batch: Any) -> None:
    method = build(ErrorCorrection, tiny_net)
    losses = method.step(batch, SETTLED).losses
    assert set(losses) == SEGMENTER | {"corrector"}
    for name, loss in losses.items():
        reached = {key for key, found in gradients(method, loss).items() if found is not None and found.any()}
        of_corrector = {key for key in reached if key.startswith("corrector.")}
        assert reached
        assert of_corrector == (set() if name in SEGMENTER else reached), name
    assert {id(parameter) for parameter in critics(method)} == {id(each) for each in method.corrector.parameters()}


def test_unlabeled_images_join_after_their_start(tiny_net: NetConfig, batch: Any) -> None:
    method = build(ErrorCorrection, tiny_net, unlabeled_start=0.1)
    assert "pseudo" not in method.step(batch, method.now(9, 100)).losses
    assert "pseudo" in method.step(batch, method.now(10, 100)).losses


def test_only_its_training_counts_in_the_running_statistics_of_the_corrector(tiny_net: NetConfig, batch: Any) -> None:
    method = build(ErrorCorrection, tiny_net)
    for _ in range(3):
        method.step(batch, SETTLED)
    counts = [buffer.item() for name, buffer in method.corrector.named_buffers() if name.endswith("tracked")]
    assert counts
    assert set(counts) == {3}


def test_where_there_is_no_image_and_no_label_no_term_has_a_value(tiny_net: NetConfig, batch: Any) -> None:
    labeled = Labeled(batch.labeled.images, torch.full_like(batch.labeled.labels, IGNORE))
    unlabeled = Unlabeled(batch.unlabeled.images, torch.zeros_like(batch.unlabeled.valid))
    found = build(ErrorCorrection, tiny_net).step(batch._replace(labeled=labeled, unlabeled=unlabeled), SETTLED)
    assert all(loss == 0 for loss in found.losses.values())
    assert found.watch["called_correct"] == 0


def test_the_corrector_learns_to_spot_and_to_amend(tiny_net: NetConfig, batch: Any) -> None:
    method = build(ErrorCorrection, tiny_net, **PLAIN)
    optimizer, found = torch.optim.Adam(critics(method), lr=3e-3), []
    for _ in range(30):
        loss = method.step(batch, method.now(0, 100)).losses["corrector"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < 0.5 * found[0]
