"""The energy distance of two sets, by hand and beside a plain twin, and what chance gives."""

import pytest
import torch

from fewmask.ops.energy_distance import energy_distances, unlikeness


def test_two_points_far_from_two_points_by_hand() -> None:
    places = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    division = torch.tensor([[True, True, False, False], [True, False, True, False]])
    apart, mixed = energy_distances(torch.cdist(places, places), division).tolist()
    assert apart == pytest.approx((2 * 10 - 1 - 1) / (2 * 10))  # across: 10, 11, 9, 10
    assert mixed == pytest.approx((2 * 5.5 - 10 - 10) / (2 * 5.5))  # across: 1, 11, 9, 1


def test_it_equals_a_loop_over_pairs() -> None:
    rows = torch.randn(9, 3, dtype=torch.float64)
    first = torch.arange(9) < 4
    far = [[float((rows[i] - rows[j]).norm()) for j in range(9)] for i in range(9)]
    across = sum(far[i][j] for i in range(4) for j in range(4, 9)) / 20
    own = sum(far[i][j] for i in range(4) for j in range(4)) / 12
    others = sum(far[i][j] for i in range(4, 9) for j in range(4, 9)) / 20
    found = energy_distances(torch.cdist(rows, rows), first[None])
    assert found.item() == pytest.approx((2 * across - own - others) / (2 * across))


def test_equal_points_are_not_apart_and_one_point_is_no_set() -> None:
    assert unlikeness(torch.ones(3, 2), torch.ones(4, 2)) == (0.0, 0.0)
    with pytest.raises(ValueError, match="no spread"):
        unlikeness(torch.ones(1, 2), torch.ones(4, 2))


def test_sets_of_one_kind_stay_within_chance_and_sets_of_two_kinds_do_not() -> None:
    rows = torch.randn(12 + 60, 32)
    alike, chance = unlikeness(rows[:12], rows[12:])
    assert alike < chance
    apart, chance = unlikeness(rows[:12], rows[12:] + 1)
    assert apart > 2 * chance > 0
    assert unlikeness(rows[:12], rows[12:] + 1) == (apart, chance)  # drawn in the same way again
