"""One row of an accuracy benchmark: train by a recipe or go on with an interrupted run, score it, append the row."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from rich.console import Console

from fewmask.recipe import Recipe
from fewmask.run.folder import RunFolder
from fewmask.run.metrics import read_metrics
from fewmask.study.key import Run
from fewmask.study.results import Cost, Place, ResultRow, ResultTable, scores_of
from fewmask.training.start import resume_run, train_recipe
from fewmask.use.model import load
from table import ROOT, check_package, origin

RESULTS = ROOT / "benchmarks"


def results(name: str) -> ResultTable:
    """The table benchmarks/NAME.csv of trained runs."""
    check_package()
    return ResultTable(RESULTS / f"{name}.csv")


def add_row(table: ResultTable, run: Run, row: str, recipe: Recipe, folder: Path, splits: tuple[str, ...]) -> None:
    """Appends the scores of the recipe as the row of `run`, if the table lacks it; `row` is its name in the study.

    An interrupted run in `folder` goes on. A finished run is refused, because its commit may have had other defaults.
    """
    if table.holds(run):
        return
    if RunFolder(folder).is_finished:
        raise SystemExit(f"{folder} is a finished run, of this commit or of another. Delete it to train anew.")
    print(f"-- {row}: {run}", flush=True)
    start = time.perf_counter()
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:  # else the peak memory is that of rows before
        fresh.submit(_train, recipe, folder).result()
    seconds = time.perf_counter() - start
    model = load(folder)
    scores: dict[Place, float | None] = {}
    for split in splits:
        evaluated = model.evaluate(split)
        scores |= scores_of(evaluated)
    cost = Cost(round(seconds), *step_figures(folder))
    table.append(ResultRow(run, row, evaluated["predictor"], scores, cost, origin(recipe.training.precision)))


def _train(recipe: Recipe, folder: Path) -> None:
    console = Console(width=160)
    if RunFolder(folder).is_begun:
        resume_run(folder, console)
    else:
        train_recipe(recipe, folder, console)


def step_figures(folder: Path) -> tuple[float, float, float]:
    """Medians over the second half of a run: steps per second, share of the time spent waiting for data, peak GiB."""
    rows = read_metrics(RunFolder(folder)).rows
    late = rows[len(rows) // 2 :]
    steps, data, memory = (
        median(row[name] for row in late) for name in ("steps_per_second", "data_share", "memory_gib")
    )
    return steps, data, memory
