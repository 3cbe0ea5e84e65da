"""costs.csv: the steps that a method gets for its budget, and what a run of it costs."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fewmask.errors import UserError
from fewmask.recipe import Recipe
from fewmask.study.compare.spending import Spending, Spent
from fewmask.study.lines import append_line, whole_lines

_TIMED = 5  # steps of a phase that are timed where time is the budget


class Key(NamedTuple):
    """What a cost is that of."""

    study: str
    data: str
    network: str
    row: str
    budget: str
    baseline_steps: int


class Cost(NamedTuple):
    """What a run of a row of the comparison costs, with the first set of masks; passes are those of `Spent`."""

    study: str
    data: str
    network: str
    row: str
    budget: str
    baseline_steps: int
    steps: int
    """The number of steps of the row's runs; 0 if it was not measured."""
    with_gradient: float
    without_gradient: float
    seconds: float
    failure: str
    """Why it was not measured; empty if it was."""

    @property
    def key(self) -> Key:
        """What the cost is that of."""
        return Key(*self[:6])

    @property
    def order(self) -> float:
        """Says which runs are cheaper: a pass with gradient counts three times, for its backward pass."""
        return 3 * self.with_gradient + self.without_gradient


def read_costs(path: Path) -> list[Cost]:
    """The lines of a file, in their order."""
    costs = []
    for line in csv.DictReader(io.StringIO(whole_lines(path), newline="")):
        try:
            study, data, network, row, budget = (line[name] for name in Cost._fields[:5])
            key = Key(study, data, network, row, budget, int(line["baseline_steps"]))
            spent = Spent(*(float(line[name]) for name in Spent._fields))
            costs.append(Cost(*key, int(line["steps"]), *spent, line["failure"]))
        except (KeyError, TypeError, ValueError):
            raise UserError("this is no table of costs", path, "Remove it: it is measured again.") from None
    return costs


def add_cost(path: Path, cost: Cost) -> None:
    """Adds a line to the file."""
    append_line(path, Cost._fields, [f"{value:.6g}" if isinstance(value, float) else value for value in cost])


def failed(key: Key, why: str) -> Cost:
    """The line of a row that cannot be measured."""
    return Cost(*key, 0, 0.0, 0.0, 0.0, " ".join(why.split()))


def measured(key: Key, recipe: Recipe, baseline: Cost | None) -> Cost:
    """The steps that a row gets for its budget, and the cost of so many steps.

    Args:
        key: what the cost is that of.
        recipe: the recipe of one of its runs, with the steps of the baseline.
        baseline: the cost of the baseline; None if this is the baseline.

    Raises:
        UserError: the recipe cannot be trained.
    """
    spending = Spending(recipe, _TIMED if key.budget == "minutes" else 1)
    steps = key.baseline_steps if baseline is None else steps_for(key.budget, spending.of_run, baseline)
    return Cost(*key, steps, *spending.of_run(steps), "")


def steps_for(budget: str, of_run: Callable[[int], Spent], baseline: Cost) -> int:
    """The largest number of steps that costs no more than the baseline's run, but at least one.

    A method that takes no pass with gradient gets as many steps as the baseline.
    """
    if budget == "steps":
        return baseline.steps

    def cost(steps: int) -> float:
        spent = of_run(steps)
        return spent.with_gradient if budget == "forwards" else spent.seconds

    allowed = 1.000001 * (baseline.with_gradient if budget == "forwards" else baseline.seconds)  # sums are rounded
    if cost(baseline.steps) == 0:
        return baseline.steps
    low, high = 1, 2
    while cost(high) <= allowed:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= allowed else (low, middle)
    return low
