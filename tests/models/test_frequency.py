"""Class frequencies: labels and pseudo-labels pooled by the number of their images."""

import pytest
import torch
from torch import Tensor

from fewmask.models.frequency import DECAY, ClassFrequency
from fewmask.ops.losses import balanced_class_weights
from fewmask.shapes import IGNORE


def labels(*values: int) -> Tensor:
    return torch.tensor([[values]])


def expected_weights(*shares: float) -> list[float]:
    return balanced_class_weights(torch.tensor(shares, dtype=torch.float64)).tolist()


def test_nothing_seen_weighs_all_classes_the_same() -> None:
    assert ClassFrequency(3, num_labeled=2, num_unlabeled=5).weights().tolist() == [1, 1, 1]


def test_labels_alone_count_until_there_are_pseudo_labels() -> None:
    frequency = ClassFrequency(3, num_labeled=2, num_unlabeled=50)
    frequency.observe(labels(0, 0, 0, 1, 1, 2, IGNORE))
    assert frequency.weights().tolist() == pytest.approx(expected_weights(3, 2, 1))


def test_labels_and_pseudo_labels_pool_by_their_images_not_by_their_pixels() -> None:
    frequency = ClassFrequency(3, num_labeled=1, num_unlabeled=3)
    frequency.observe(labels(0, 0, 1, 2))
    frequency.observe_pseudo(labels(*[0] * 10, *[1] * 10))
    pooled = [1 * 0.5 + 3 * 0.5, 1 * 0.25 + 3 * 0.5, 1 * 0.25]
    assert frequency.weights().tolist() == pytest.approx(expected_weights(*pooled))


def test_without_unlabeled_images_pseudo_labels_do_not_count() -> None:
    frequency = ClassFrequency(2, num_labeled=1, num_unlabeled=0)
    frequency.observe(labels(0, 0, 0, 1))
    frequency.observe_pseudo(labels(1, 1, 1, 1))
    assert frequency.weights().tolist() == pytest.approx(expected_weights(3, 1))


def test_a_class_that_pseudo_labels_favor_loses_weight() -> None:
    frequency = ClassFrequency(3, num_labeled=1, num_unlabeled=10)
    frequency.observe(labels(0, 0, 0, 0, 1, 1, 1, 2))
    before = frequency.weights()
    frequency.observe_pseudo(labels(0, 0, 1, 2, 2, 2, 2, 2))
    assert frequency.weights()[2] < before[2]  # the brake of section 4.2


def test_pseudo_labels_fade_and_labels_do_not() -> None:
    frequency = ClassFrequency(2, num_labeled=1, num_unlabeled=1)
    frequency.observe(labels(0, 1))
    frequency.observe_pseudo(labels(0, 0))
    for _ in range(3):
        frequency.observe_pseudo(labels(1, 1))
    assert frequency.pseudo.tolist() == pytest.approx([2 * DECAY**3, 2 * (1 + DECAY + DECAY**2)])
    assert frequency.labeled.tolist() == [1, 1]


def test_excess_is_the_pseudo_share_over_the_labeled_share() -> None:
    frequency = ClassFrequency(3, num_labeled=7, num_unlabeled=2)
    frequency.observe(labels(0, 0, 0, 1))
    frequency.observe_pseudo(labels(0, 1, 1, 1, IGNORE))
    assert frequency.excess()[:2].tolist() == pytest.approx([0.25 / 0.75, 0.75 / 0.25])


def test_excess_tells_a_class_that_is_lost_from_one_that_never_was() -> None:
    frequency = ClassFrequency(3, num_labeled=1, num_unlabeled=1)
    frequency.observe(labels(0, 0, 0, 1))
    frequency.observe_pseudo(labels(0, 0))
    assert frequency.excess().tolist() == pytest.approx([1 / 0.75, 0, 1], abs=1e-5)


def test_excess_of_a_class_that_no_label_shows_is_finite_and_large() -> None:
    frequency = ClassFrequency(2, num_labeled=1, num_unlabeled=1)
    frequency.observe(labels(0, 0))
    frequency.observe_pseudo(labels(0, 1))
    assert frequency.excess()[1].item() == pytest.approx(0.5e6)


def test_several_batches_of_a_step_fade_as_one() -> None:
    one, several = ClassFrequency(2, 1, 1), ClassFrequency(2, 1, 1, accumulate=4)
    for frequency in (one, several):
        frequency.observe_pseudo(labels(0, 0, 1))
    one.observe_pseudo(labels(IGNORE))
    for _ in range(4):
        several.observe_pseudo(labels(IGNORE))
    torch.testing.assert_close(one.pseudo, several.pseudo)
    assert one.pseudo.sum() < 3


def test_only_ignored_pixels_change_nothing() -> None:
    frequency = ClassFrequency(2, num_labeled=1, num_unlabeled=1)
    frequency.observe(labels(IGNORE))
    frequency.observe_pseudo(labels(IGNORE))
    assert frequency.weights().tolist() == [1, 1]
    assert frequency.excess().tolist() == [1, 1]


def test_counts_survive_a_state_dict_and_change_in_place() -> None:
    frequency, other = (ClassFrequency(2, num_labeled=1, num_unlabeled=1) for _ in range(2))
    place = frequency.labeled.data_ptr()
    frequency.observe(labels(0, 1, 1))
    frequency.observe_pseudo(labels(0, 0, 1))
    other.load_state_dict(frequency.state_dict())
    assert torch.equal(other.weights(), frequency.weights())
    assert frequency.labeled.data_ptr() == place
