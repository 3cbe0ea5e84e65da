"""Scores against numbers worked out by hand and a slow twin."""

import numpy as np
import pytest
import torch

from fewmask.use.scores import scores_of


def test_scores_of_a_matrix_worked_out_by_hand() -> None:
    confusion = torch.tensor([[5, 2, 1], [3, 4, 0], [0, 1, 4]])  # rows: truth
    scores = scores_of(confusion, ["a", "b", "c"])
    assert scores.per_class == {
        "a": pytest.approx(5 / 11),
        "b": pytest.approx(4 / 10),
        "c": pytest.approx(4 / 6),
    }
    assert scores.miou == pytest.approx((5 / 11 + 4 / 10 + 4 / 6) / 3)
    assert scores.pixel_accuracy == pytest.approx(13 / 20)


def test_absent_class_is_none_and_its_false_positives_count_against_the_others() -> None:
    scores = scores_of(torch.tensor([[6, 2], [0, 0]]), ["there", "absent"])
    assert scores.per_class == {"there": pytest.approx(6 / 8), "absent": None}
    assert scores.miou == pytest.approx(6 / 8)


def test_class_that_is_never_found_is_zero() -> None:
    scores = scores_of(torch.tensor([[4, 0], [3, 0]]), ["a", "missed"])
    assert scores.per_class == {"a": pytest.approx(4 / 7), "missed": 0.0}
    assert scores.miou == pytest.approx(2 / 7)


def test_set_without_any_class_has_no_score() -> None:
    scores = scores_of(torch.zeros(2, 2, dtype=torch.int64), ["a", "b"])
    assert scores.as_json() == {"miou": None, "per_class": {"a": None, "b": None}, "pixel_accuracy": None}


def test_scores_equal_a_slow_twin() -> None:
    generator = np.random.default_rng(5)
    truth, labels = generator.integers(0, 6, (2, 500))
    truth[truth == 4] = 0  # class 4 is absent
    confusion = torch.zeros(6, 6, dtype=torch.int64)
    for row, column in zip(truth, labels, strict=True):
        confusion[row, column] += 1
    scores = scores_of(confusion, list("abcdef"))
    for index, name in enumerate("abcdef"):
        both, either = ((truth == index) & (labels == index)).sum(), ((truth == index) | (labels == index)).sum()
        expected = None if index == 4 else pytest.approx(both / either)
        assert scores.per_class[name] == expected
    assert scores.pixel_accuracy == pytest.approx((truth == labels).mean())


def test_counts_beyond_float32_are_exact() -> None:
    scores = scores_of(torch.tensor([[2**40, 1], [0, 1]]), ["a", "b"])
    assert scores.per_class["b"] == pytest.approx(1 / 2)
    assert scores.per_class["a"] == 2**40 / (2**40 + 1)
