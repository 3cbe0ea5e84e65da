"""Thresholds of the top share, pseudo-labels under them, and what these count for: by hand and by slow plain twins."""

import math

import pytest
import torch
from torch import Tensor

from fewmask.ops.self_training import (
    BINS_PER_OCTAVE,
    OCTAVES,
    confidence_counts,
    confident_pseudo_labels,
    mutual_weights,
    normalized_pseudo_labels,
    probability_of,
    top_share_thresholds,
)
from fewmask.shapes import IGNORE


def thresholds(confidence: Tensor, classes: Tensor, num_classes: int, share: float) -> Tensor:
    return top_share_thresholds(confidence_counts(confidence, classes, num_classes), share)


def test_thresholds_of_a_case_worked_out_by_hand() -> None:
    confidence = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.99, 0.4, 0.3])
    classes = torch.tensor([0, 0, 0, 0, 0, 2, 2, IGNORE])
    found = thresholds(confidence, classes, 3, 0.4)
    # two of the five of class 0; the better one of class 2; class 1 has none, and nothing of it is kept
    assert found.tolist() == pytest.approx([0.8, 1.0, 0.99], abs=0.003)
    assert (confidence[:5] >= found[0]).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6, 0.99])
@pytest.mark.parametrize("sharpness", [1.0, 30.0])
def test_a_slow_plain_twin_that_sorts_keeps_the_same_share_but_for_one_bin(share: float, sharpness: float) -> None:
    confidence = torch.rand(4000) ** (1 / sharpness)
    classes = torch.randint(0, 3, (4000,))
    found = thresholds(confidence, classes, 3, share)
    for label in range(3):
        values = sorted(confidence[classes == label].tolist(), reverse=True)
        lowest_kept = values[math.ceil(share * len(values)) - 1]
        # a bin is a factor of 2 ** (1 / 256) in 1 - confidence
        assert found[label] <= lowest_kept + 1e-6
        assert 1 - found[label] <= (1 - lowest_kept) * 2 ** (1.01 / BINS_PER_OCTAVE) + 1e-6


def test_confidences_that_crowd_at_one_are_still_told_apart() -> None:
    confidence = 1 - torch.logspace(-3, -6, 1000)
    found = thresholds(confidence, torch.zeros(1000, dtype=torch.int64), 1, 0.3)
    assert (confidence >= found).float().mean() == pytest.approx(0.3, abs=0.02)


def test_counts_of_images_add_up_and_leave_out_what_is_ignored() -> None:
    confidence, classes = torch.rand(100), torch.randint(0, 4, (100,))
    classes[:10] = IGNORE
    parts = [confidence_counts(c, k, 4) for c, k in zip(confidence.split(30), classes.split(30), strict=True)]
    total = torch.stack(parts).sum(dim=0)
    assert torch.equal(total, confidence_counts(confidence, classes, 4))
    assert total.sum() == 90


def test_the_whole_range_of_confidences_has_a_bin() -> None:
    counts = confidence_counts(torch.tensor([0.0, 1.0]), torch.tensor([0, 0]), 1)
    assert counts.shape == (1, OCTAVES * BINS_PER_OCTAVE)
    assert counts[0, 0] == counts[0, -1] == 1


@pytest.mark.parametrize("share", [1.0, 1.2])
def test_a_share_of_one_keeps_everything(share: float) -> None:
    confidence = torch.tensor([0.2, 0.9, 0.3])
    assert thresholds(confidence, torch.tensor([0, 0, 1]), 3, share).tolist() == [0, 0, 0]


def logits_of(*pixels: list[float]) -> Tensor:
    """[1 k 1 w] of pixels given as probabilities."""
    return torch.tensor(pixels).log().T[None, :, None]


def test_the_normalized_rule_relabels_and_leaves_out_as_worked_out_by_hand() -> None:
    logits = logits_of([0.6, 0.4], [0.6, 0.4], [0.95, 0.05], [0.55, 0.45])
    valid = torch.tensor([[[True, False, True, True]]])
    # ratios 0.75 and 2: class 1 although class 0 is more likely; 1.19 and 0.25; 0.69 and 2.25
    labels = normalized_pseudo_labels(logits, valid, torch.tensor([0.8, 0.2]))
    assert labels.tolist() == [[[1, IGNORE, 0, 1]]]
    labels = normalized_pseudo_labels(logits, valid, torch.tensor([0.8, 1.0]))  # class 1 was never predicted
    assert labels.tolist() == [[[IGNORE, IGNORE, 0, IGNORE]]]


def test_the_plain_rule_never_relabels() -> None:
    logits = logits_of([0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8])
    valid = torch.tensor([[[True, True, True, False]]])
    labels, confidence = confident_pseudo_labels(logits, valid, torch.tensor([0.8, 0.2]))
    assert labels.tolist() == [[[IGNORE, 0, 1, IGNORE]]]
    assert confidence.flatten().tolist() == pytest.approx([0.6, 0.9, 0.8, 0])


def test_a_pixel_just_at_the_threshold_of_its_class_is_kept() -> None:
    halves, valid, at_threshold = torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool), torch.full((2,), 0.5)
    assert normalized_pseudo_labels(halves, valid, at_threshold).item() == 0
    assert confident_pseudo_labels(halves, valid, at_threshold)[0].item() == 0


def test_thresholds_of_zero_keep_the_plain_argmax_of_every_valid_pixel() -> None:
    logits, valid = 5 * torch.randn(2, 4, 6, 7), torch.rand(2, 6, 7) > 0.2
    expected = logits.argmax(dim=1).masked_fill(~valid, IGNORE)
    assert torch.equal(normalized_pseudo_labels(logits, valid, torch.zeros(4)), expected)
    assert torch.equal(confident_pseudo_labels(logits, valid, torch.zeros(4))[0], expected)


def test_mutual_weights_of_the_three_cases_worked_out_by_hand() -> None:
    logits = logits_of([0.8, 0.2], [0.8, 0.2], [0.8, 0.2])
    labels = torch.tensor([[[0, 1, 1]]])
    confidence = torch.tensor([[[0.5, 0.79, 0.81]]])
    weights = mutual_weights(logits, labels, confidence, agreed_gamma=2.0, disputed_gamma=3.0)
    assert weights.flatten().tolist() == pytest.approx([0.64, 0, 0.008])


def test_a_slow_plain_twin_gives_the_same_weights() -> None:
    logits, confidence = 2 * torch.randn(2, 4, 5, 6), torch.rand(2, 5, 6)
    labels = torch.randint(0, 4, (2, 5, 6))
    labels[0, 0] = IGNORE
    weights = mutual_weights(logits, labels, confidence, 5.0, 3.0)
    assert weights.isfinite().all()
    for image, row, column in torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(6)).tolist():
        label = int(labels[image, row, column])
        if label == IGNORE:
            continue
        current = logits[image, :, row, column].softmax(0)
        q = current[label].item()
        if current.argmax() == label:
            expected = q**5
        else:
            expected = 0 if current.max() > confidence[image, row, column] else q**3
        assert weights[image, row, column].item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_weights_carry_no_gradient_and_are_float32_for_half_precision() -> None:
    logits = torch.randn(1, 3, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    labels = torch.tensor([[[0, 1], [2, IGNORE]]])
    for weights in (probability_of(labels, logits), mutual_weights(logits, labels, torch.ones(1, 2, 2), 5.0, 5.0)):
        assert weights.dtype == torch.float32
        assert not weights.requires_grad
        assert ((weights >= 0) & (weights <= 1)).all()
