"""Intervals over images against cases whose answer is known, and the geometry of charts."""

import math

import numpy as np
import pytest

from fewmask.report.bootstrap import Intervals, intervals, iou, resampled
from fewmask.report.chart import HEIGHT, TOP, Scale, chart
from fewmask.run.metrics import Curve
from fewmask.run.tallies import HITS, PREDICTED, TRUTH


def counts(hits: list[list[int]], truth: list[list[int]], predicted: list[list[int]]) -> np.ndarray:
    """[n 3 k] from the rows of each image."""
    found = np.zeros((len(hits), 3, len(hits[0])), np.int64)
    found[:, HITS], found[:, TRUTH], found[:, PREDICTED] = hits, truth, predicted
    return found


def test_iou_comes_from_all_pixels_together_and_is_nan_without_truth() -> None:
    found = iou(counts([[3, 0]], [[4, 0]], [[5, 1]]))
    assert found[0, 0] == pytest.approx(3 / 6)
    assert math.isnan(found[0, 1])


def test_equal_images_have_an_interval_without_width_and_a_single_image_has_none() -> None:
    equal = intervals(resampled(counts([[3]] * 8, [[4]] * 8, [[5]] * 8)))
    assert equal.miou == pytest.approx((0.5, 0.5, 0.5))
    alone = intervals(resampled(counts([[3]], [[4]], [[5]])))
    assert alone.miou.value == 0.5
    assert not alone.miou.is_known


def test_the_interval_is_that_of_the_binomial_where_an_image_is_right_or_wrong() -> None:
    """With one pixel an image and one class, hits add up like coins: 1.96 times sqrt(p q / n) on either side.

    A wrong pixel is predicted as nothing, so the union is n in every resample.
    """
    n, right = 400, 100
    hits = [[1]] * right + [[0]] * (n - right)
    found = intervals(resampled(counts(hits, [[1]] * n, hits))).miou
    reach = 1.96 * math.sqrt(0.25 * 0.75 / n)
    assert found.value == 0.25
    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.15)  # 1000 resamples


def test_what_is_hard_for_both_networks_does_not_widen_their_difference() -> None:
    generator = np.random.default_rng(0)
    hits = generator.integers(20, 80, (30, 1))
    truth = np.full((30, 1), 100)
    better, worse = (resampled(counts(found.tolist(), truth.tolist(), found.tolist())) for found in (hits + 5, hits))
    alone, gain = intervals(better).miou, intervals(better, worse).miou
    assert gain.value == pytest.approx(0.05)
    assert gain.verdict == "gained"
    assert gain.high - gain.low < 1e-9 < alone.high - alone.low
    assert intervals(worse, better).miou.verdict == "lost"


def test_a_class_of_one_image_counts_in_the_mean_and_has_no_interval_of_its_own() -> None:
    truth = [[10, 10]] + [[10, 0]] * 9
    found: Intervals = intervals(resampled(counts([[5, 10]] + [[5, 0]] * 9, truth, [[5, 10]] + [[5, 0]] * 9)))
    assert found.miou.value == pytest.approx(0.75)
    assert found.miou.low == pytest.approx(0.5)  # resamples without the image have one class
    assert not found.per_class[1].is_known


def test_a_chart_starts_at_zero_names_lines_apart_and_leaves_a_gap_where_a_value_is_not_finite() -> None:
    steps = [0, 5, 10, 15]
    curves = [("one", Curve(steps, [9.0, 8.0, math.nan, 8.1])), ("other", Curve(steps, [9.0, 8.0, 8.0, 8.0]))]
    found = chart("title", "", curves, 15)
    assert found is not None
    assert [tick.text for tick in found.y_ticks] == ["0", "5", "10"]
    assert found.lines[0].path.count("M") == 2
    assert abs(found.lines[0].name_y - found.lines[1].name_y) > 10
    assert all(TOP <= line.name_y <= HEIGHT for line in found.lines)
    assert chart("title", "", [("none", Curve([], []))], 15) is None


def test_a_logarithmic_scale_puts_one_in_the_middle_of_a_hundredth_and_a_hundred() -> None:
    scale = Scale(0.01, 100.0, is_log=True)
    assert [scale.share(value) for value in (0.0, 0.01, 1.0, 100.0, 1e6)] == pytest.approx([0, 0, 0.5, 1, 1])
