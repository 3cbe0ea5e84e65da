"""One row of an accuracy benchmark: train by a recipe (or go on with an interrupted run), score val and test."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from fewmask.recipe import Recipe
from fewmask.run.folder import RunFolder
from fewmask.run.metrics import read_metrics
from fewmask.training.start import resume_run, train_recipe
from fewmask.use.model import load
from table import Table, percent


def add_row(table: Table, key: dict[str, Any], recipe: Recipe, folder: Path, splits: tuple[str, ...]) -> None:
    """Appends the scores of the recipe under `key`, unless they stand there.

    An interrupted run in `folder` goes on; a finished one is refused, as it may be of a commit with other defaults.
    `seconds` is the training with the start of its process, beside whatever else ran; of a resumed run, its last part.
    """
    if table.holds(**key):
        return
    if RunFolder(folder).is_finished:
        raise SystemExit(f"{folder} is a finished run, of this commit or of another. Delete it to train anew.")
    print(f"-- {key}", flush=True)
    start = time.perf_counter()
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:  # else its peak memory is that of the rows before
        fresh.submit(_train, recipe, folder).result()
    seconds = time.perf_counter() - start
    model = load(folder)
    row: dict[str, Any] = dict(key)
    for split in splits:
        scores = model.evaluate(split)
        for name in ("student", "teacher"):  # the columns of the tables
            row[f"{split}_{name}"] = percent(scores[name]["miou"] if name in scores["networks"] else None)
        if split == "test":
            row |= {f"test_{name}": percent(iou) for name, iou in scores["per_class"].items()}
    row["seconds"] = round(seconds)
    row |= step_figures(folder)
    table.append(row, recipe.training.precision)


def _train(recipe: Recipe, folder: Path) -> None:
    console = Console(width=160)
    if RunFolder(folder).is_begun:
        resume_run(folder, console)
    else:
        train_recipe(recipe, folder, console)


def step_figures(folder: Path) -> dict[str, str]:
    """Medians over the second half of a run: steps per second, share of the time waiting for data, peak memory."""
    rows = read_metrics(RunFolder(folder)).rows
    late = rows[len(rows) // 2 :]
    return {
        name: f"{median(row[name] for row in late):.4g}" for name in ("steps_per_second", "data_share", "memory_gib")
    }


def setting(recipe: Recipe) -> tuple[str, str, str]:
    """Network, factor or size of the images, and crop: what rows at other resolutions differ by."""
    return f"{recipe.net.arch}-{recipe.net.encoder}", size(recipe.data.resize), size(recipe.data.crop)


def size(value: Any) -> str:
    """(176, 240) -> 176x240; a single number as it is."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
