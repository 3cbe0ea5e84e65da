"""Alarms: one line for a class that stays out of bounds, and none for one that is so now and then."""

import io

import torch
from rich.console import Console

from fewmask.methods import Alarm
from fewmask.training.hooks.alarms import Alarms

CLASSES = ("road, wet", "[other]", "Weiß")
SHARES = Alarm("shares", 0.02, 8.0, "class {name} has shrunk to {value:.3f}", "class {name} takes {value:.1f} times")


def alarms_of(values: list[list[float]]) -> list[str]:
    """What is said of these values, ten steps apart."""
    text = io.StringIO()
    alarms = Alarms(CLASSES, Console(file=text, width=80))
    for line, of_classes in enumerate(values):
        alarms.watch(10 * (line + 1), SHARES, of_classes)
    return text.getvalue().splitlines()


def test_a_class_that_runs_away_or_vanishes_raises_one_alarm_after_three_lines() -> None:
    advice = "Look at predictions, and compare with --baseline."
    assert alarms_of([[1.0, 9.0, 0.001]] * 9) == [
        f"Alarm at step 30: class [other] takes 9.0 times. {advice}",
        f"Alarm at step 30: class Weiß has shrunk to 0.001. {advice}",
    ]


def test_a_class_that_is_strange_now_and_then_raises_no_alarm() -> None:
    assert alarms_of([[9.0 * (line % 3 > 0) + 0.1, 1.0, 1.0] for line in range(30)]) == []


def test_bounds_themselves_raise_no_alarm() -> None:
    assert alarms_of([[8.0, 0.02, 1.0]] * 9) == []


def test_a_value_that_is_no_number_is_out_of_bounds() -> None:
    assert len(alarms_of([[torch.nan, 1.0, 1.0]] * 3)) == 1
