"""The speed and the memory of a trained run, from its metrics."""

from statistics import median
from typing import NamedTuple

from fewmask.run.folder import RunFolder
from fewmask.run.metrics import read_metrics


class StepFigures(NamedTuple):
    """Medians over the second half of a run."""

    steps_per_second: float
    data_share: float
    """The share of the time in which the run waited for data."""
    memory_gib: float
    """The peak."""


def step_figures(run: RunFolder) -> StepFigures:
    """What a run's metrics say of its steps."""
    rows = read_metrics(run).rows
    late = rows[len(rows) // 2 :]
    return StepFigures(*(median(row[name] for row in late) for name in StepFigures._fields))
