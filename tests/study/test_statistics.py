"""Means and intervals against tables of Student's distribution and against values computed by hand."""

import math

import pytest

from fewmask.study.statistics import differences, estimate, gain, share_of_gap, t_probability, t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (8, 2.306), (29, 2.045), (120, 1.980)]
)
def test_the_quantile_is_that_of_the_printed_tables(freedom: int, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, abs=6e-4)


@pytest.mark.parametrize(("level", "quantile"), [(0.90, 2.920), (0.99, 9.925)])
def test_other_levels_are_those_of_the_printed_tables(level: float, quantile: float) -> None:
    assert t_quantile(2, level) == pytest.approx(quantile, abs=6e-4)


def test_one_and_two_degrees_of_freedom_have_closed_forms() -> None:
    assert t_probability(1.0, 1) == pytest.approx(0.5)  # Cauchy's quartile
    assert t_probability(3.0, 2) == pytest.approx(3 / math.sqrt(2 + 3**2))


def test_an_interval_of_three_values_is_that_computed_by_hand() -> None:
    got = estimate([1.0, 2.0, 3.0])  # deviation 1, so 4.3027 / sqrt(3) = 2.4841 on either side
    assert got == pytest.approx((2.0, -0.4841, 4.4841, 3), abs=1e-4)
    assert not got.certain
    assert estimate([2.0, 2.1, 2.2]).certain
    assert estimate([-2.0, -2.1, -2.2]).certain


def test_a_single_draw_has_a_mean_and_no_interval() -> None:
    got = estimate([4.0])
    assert (got.mean, got.num_draws) == (4.0, 1)
    assert math.isnan(got.low)
    assert not got.certain
    with pytest.raises(ValueError, match="needs a value"):
        estimate([])


def test_a_gain_pairs_the_draws_so_that_what_they_share_drops_out() -> None:
    baseline = {"a": 10.0, "b": 50.0, "c": 30.0, "alone": 0.0}
    ours = {"c": 31.3, "a": 11.0, "b": 51.1, "other": 99.0}
    assert sorted(differences(ours, baseline)) == pytest.approx([1.0, 1.1, 1.3])
    # mean 3.4 / 3; deviation 0.152753; 4.302653 * 0.152753 / sqrt(3) = 0.379458
    assert gain(ours, baseline) == pytest.approx((1.133333, 0.753875, 1.512791, 3), abs=1e-5)
    with pytest.raises(ValueError, match="needs a value"):
        gain(ours, {"elsewhere": 1.0})


def test_the_share_of_the_gap_is_the_part_of_the_way() -> None:
    assert share_of_gap(47.0, 46.0, 54.0) == 0.125
    assert share_of_gap(45.0, 46.0, 54.0) == -0.125
    assert math.isnan(share_of_gap(47.0, 46.0, 46.0))
