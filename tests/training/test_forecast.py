"""How long a run takes: said once after a few steps, and again where a phase is slower or faster."""

import io
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from fewmask.methods import Step
from fewmask.run.checkpoint import Position
from fewmask.training.hooks.forecast import Forecast, duration

STEP = Step({}, {})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that a test turns."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def trainer_at(done: int, total: int, phase: int = 0, more: bool = False) -> Any:
    return SimpleNamespace(
        position=Position(0, done),
        phase=phase,
        done=done,
        has_more_phases=more,
        training=SimpleNamespace(steps=total),
        fabric=SimpleNamespace(device=torch.device("cpu")),
    )


def test_a_phase_is_timed_without_its_first_steps_and_without_pauses(clock: SimpleNamespace) -> None:
    text = io.StringIO()
    hook = Forecast(Console(file=text, width=200))
    for done in range(1, 40):
        clock.now += 50 if done <= 2 else 2  # the first steps set things up
        if done == 4:
            clock.now += 1000
            hook.on_pause(trainer_at(done, 902), 1000)
        hook.on_step(trainer_at(done, 902, more=True), STEP)
    line = "897 steps are left, about 30 min of 2 s a step. Later steps may take longer; a line says it then.\n"
    assert text.getvalue() == line
    for done in range(40, 80):
        clock.now += 6
        hook.on_step(trainer_at(done, 902, phase=1), STEP)
    assert (
        text.getvalue() == line + "Steps take 3.0 times as long now. 858 steps are left, about 86 min of 6 s a step.\n"
    )


def test_nothing_is_said_of_a_short_run_and_of_a_phase_that_is_as_fast(clock: SimpleNamespace) -> None:
    text = io.StringIO()
    for total in (40, 10_000):
        hook = Forecast(Console(file=text, width=200))
        for done in range(1, 120):
            clock.now += 0.02
            hook.on_step(trainer_at(done, total, phase=done // 60), STEP)
    assert text.getvalue() == "9968 steps are left, about 3 min of 20 ms a step.\n"


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (720, "12 min"), (3 * 3600 + 1200, "3 h 20 min"), (187_200, "2 d 4 h")]
)
def test_durations_are_said_as_people_do(seconds: float, words: str) -> None:
    assert duration(seconds) == words
