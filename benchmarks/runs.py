"""One row of an accuracy benchmark: train by a recipe or go on with an interrupted run, score it, append the row."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from fewmask.recipe import Recipe
from fewmask.run.folder import RunFolder
from fewmask.study.key import Run
from fewmask.study.results import Cost, Place, ResultRow, ResultTable, scores_of
from fewmask.study.speed import step_figures
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
    cost = Cost(round(seconds), *step_figures(RunFolder(folder)))
    table.append(ResultRow(run, row, evaluated["predictor"], scores, cost, origin(recipe.training.precision)))


def _train(recipe: Recipe, folder: Path) -> None:
    console = Console(width=160)
    if RunFolder(folder).is_begun:
        resume_run(folder, console)
    else:
        train_recipe(recipe, folder, console)
