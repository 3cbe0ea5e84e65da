"""What runs cost is counted in their networks, and a budget becomes a number of steps."""

from pathlib import Path

import pytest

from fewmask.recipe import Recipe, read_recipe
from fewmask.study.compare.costs import Cost, add_cost, failed, read_costs, steps_for
from fewmask.study.compare.spending import Spending, Spent
from fewmask.study.compare.summary import summarize
from fewmask.study.key import run_of
from fewmask.study.results import Cost as RowCost
from fewmask.study.results import Origin, Place, ResultRow
from toy import write_recipe

BASELINE = Cost("study", "data", "net", "supervised", "forwards", 100, 100, 200.0, 0.0, 50.0, "")


def recipe_of(folder: Path, data: Path, method: object) -> Recipe:
    return read_recipe(write_recipe(folder / "recipe.yaml", data, method, unlabeled_batch=3))


def test_passes_of_a_run_are_those_of_its_steps(tmp_path: Path, dataset: Path) -> None:
    """Batches hold 2 labeled and 3 unlabeled images."""

    def passes(method: object, steps: int) -> tuple[float, ...]:
        return Spending(recipe_of(tmp_path, dataset, method)).of_run(steps)[:2]

    assert passes("supervised", 7) == (7 * 2, 0)
    assert passes("cutmix", 7) == (7 * 5, 7 * 3)
    blank = 48 * 48 / (48 * 64)  # a smaller image counts less
    assert passes({"name": "prototypes", "blank_size": 48}, 4) == (0, 4 * 2 + blank)
    # a supervised round, and one that walks the pool of 6 images and then learns from 2 + 3 images a step
    round_steps = 8 // 2
    assert passes({"name": "cbc", "num_rounds": 1, "first_share": 0.5}, 8) == (
        round_steps * 2 + round_steps * 5,
        6 + round_steps * 3,
    )


def test_an_equal_number_of_passes_gives_fewer_steps_to_a_method_that_takes_more_of_them() -> None:
    def of_run(steps: int) -> Spent:
        late = max(0, steps - 10)  # from the eleventh step on, a step takes three times as many
        return Spent(2.0 * (steps - late) + 6.0 * late, 5.0 * steps, 0.25 * steps)

    assert steps_for("steps", of_run, BASELINE) == 100
    assert steps_for("forwards", of_run, BASELINE) == 40  # 20 + 180 passes
    assert steps_for("minutes", of_run, BASELINE) == 200
    assert steps_for("forwards", lambda steps: Spent(0, steps), BASELINE) == 100
    assert steps_for("forwards", lambda steps: Spent(1000.0 * steps), BASELINE) == 1


def test_costs_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    lost = failed(BASELINE.key, "a line,\nand another")
    for cost in (BASELINE, lost):
        add_cost(path, cost)
    assert read_costs(path) == [BASELINE, lost]
    assert lost.failure == "a line, and another"
    assert BASELINE._replace(without_gradient=10.0).order == 610


def test_gains_pair_draws_and_the_gap_is_that_to_all_masks_with_the_same_seeds(tmp_path: Path, dataset: Path) -> None:
    """Gains of 1 and 3: their mean is 2, and half of the interval is 12.706 * sqrt(2) / sqrt(2) = 12.706."""
    recipe = recipe_of(tmp_path, dataset, "supervised")

    def row(name: str, labels: str, seed: int, score: float) -> ResultRow:
        run = run_of(recipe, "study", "data")._replace(method=name, labels=labels, draw=str(seed), seed=seed)
        scores = {Place("test", "student"): score, Place("test", "student", "box"): score + 1}
        seconds = 180 if name == "other" else 60
        return ResultRow(run, name, "student", scores, RowCost(seconds, 1.0, 0.0, 2.0), Origin("", "", "", ""))

    rows = [row("supervised", "1/30", 0, 40.0), row("supervised", "1/30", 1, 44.0), row("supervised", "all", 0, 46.0)]
    rows += [row("other", "1/30", 1, 47.0), row("other", "1/30", 0, 41.0)]
    baseline, other, everything = summarize(rows, "supervised", {"1/30": 12, "all": 367}, {})
    assert (baseline.row, other.row, everything.num_masks) == ("supervised", "other", 367)
    assert other.gains["test"][:3] == pytest.approx((2, 2 - 12.706, 2 + 12.706), abs=1e-3)
    assert other.gap["test"] == pytest.approx(1 / 6)  # of seed 0, which the run with all masks has too
    assert other.classes["test"] == {"box": 45.0}
    assert everything.gains == {}
    assert (other.minutes, other.memory_gib, other.passes) == (3, 2.0, None)
    assert other.point_minutes == {"test": (3 - 1) / 2}
    assert baseline.point_minutes == {}
