"""The work of one process of a comparison: to train and score a run, or to measure what runs cost."""

import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from filelock import FileLock, Timeout
from rich.console import Console

from fewmask.errors import UserError, printable
from fewmask.faults import machine_faults_named
from fewmask.recipe import Recipe, make_recipe, with_absolute_paths
from fewmask.recipe.folders import target_folder
from fewmask.run.atomic import write_text
from fewmask.run.folder import RunFolder
from fewmask.run.scores import write_scores
from fewmask.study.compare.costs import Cost, Key, add_cost, failed, measured
from fewmask.study.compare.folder import JobFolder
from fewmask.study.origin import machine
from fewmask.training.start import resume_run, train_recipe
from fewmask.use.model import load

DONE, FAILED, STOPPED = 0, 1, 130
UNLABELED = "unlabeled"
_PATIENCE = 60.0  # seconds


class Questions(NamedTuple):
    """What a process that measures is asked: the recipes of some rows, and where to write what they cost."""

    recipes: dict[Key, Recipe]
    baseline: Cost | None
    """The cost of the baseline; None if the first row is the baseline."""
    answers: Path

    def write(self, job: JobFolder) -> None:
        """Keeps the questions in the folder of the process."""
        job.path.mkdir(parents=True, exist_ok=True)
        tree = {
            "answers": str(self.answers.resolve()),
            "baseline": self.baseline and list(self.baseline),
            "rows": [[list(key), _whole(recipe)] for key, recipe in self.recipes.items()],
        }
        write_text(job.path / "questions.yaml", yaml.safe_dump(tree, sort_keys=False))

    @staticmethod
    def read(job: JobFolder) -> "Questions":
        """The questions that `write` kept."""
        tree = yaml.safe_load((job.path / "questions.yaml").read_text(encoding="utf-8"))
        recipes = {Key(*key): make_recipe(recipe) for key, recipe in tree["rows"]}
        return Questions(recipes, tree["baseline"] and Cost(*tree["baseline"]), Path(tree["answers"]))


def do_job(task: str, path: Path) -> int:
    """Does the task of the folder and returns the exit code of its process; what went wrong stays in the folder."""
    job = JobFolder(path)
    job.failure_file.unlink(missing_ok=True)
    try:
        with machine_faults_named():
            if task == "measure":
                answer(Questions.read(job))
            else:
                train_and_score(job)
    except KeyboardInterrupt:  # also that of a run that saved its checkpoint
        return STOPPED
    except UserError as error:
        return _fail(job, str(error))
    except Exception as error:
        traceback.print_exc()
        return _fail(job, f"{type(error).__name__}: {error}")
    return DONE


def train_and_score(job: JobFolder) -> None:
    """Trains the run, or goes on with it, and scores it on every split that it was not scored on before."""
    recipe, run, console = job.recipe(), job.run, Console(width=160)
    _wait_for_others(run)
    start = time.perf_counter()
    try:
        if not run.is_begun:
            train_recipe(recipe, run.path, console)
        elif _without_devices(run.recipe()) == _without_devices(recipe):
            resume_run(run.path, console)
        else:
            raise UserError("the run there is of another recipe", run.path, "Remove it, or choose another --out.")
    finally:
        job.add_time(time.perf_counter() - start, machine(recipe.training.precision))
    model = load(run.path, recipe.training.device)
    for split in splits_of(run, recipe):
        if not run.scores_file(split).exists():
            write_scores(run, split, model.evaluate(split))  # `evaluate` goes on where it cannot keep them


def _wait_for_others(run: RunFolder) -> None:
    """Waits while a process that a killed command left behind saves its checkpoint."""
    if run.is_begun:
        with suppress(Timeout), FileLock(run.path / ".lock", timeout=_PATIENCE):
            pass


def splits_of(run: RunFolder, recipe: Recipe) -> list[str]:
    """The splits with masks that a run is scored on; `unlabeled` has those that it did not learn from."""
    folder, learned = target_folder(recipe.data), set(run.labeled_names())
    hidden = [sample for sample in folder.train if sample.name not in learned]
    splits = {"test": folder.test, "val": folder.val, UNLABELED: hidden}
    return [name for name, samples in splits.items() if any(sample.mask for sample in samples)]


def answer(questions: Questions) -> None:
    """Measures what runs cost, one recipe after the other. A row that cannot be trained gets a line that says why."""
    baseline = questions.baseline
    for key, recipe in questions.recipes.items():
        try:
            with machine_faults_named():
                cost = measured(key, recipe, baseline)
        except UserError as error:
            cost = failed(key, str(error))
        except Exception as error:
            traceback.print_exc()
            cost = failed(key, f"{type(error).__name__}: {error}")
        add_cost(questions.answers, cost)
        if baseline is None:
            if cost.failure:
                return
            baseline = cost


def _whole(recipe: Recipe) -> dict[str, Any]:
    return with_absolute_paths(recipe).model_dump(mode="json")


def _without_devices(recipe: Recipe) -> dict[str, Any]:
    tree = _whole(recipe)
    tree["training"] |= {"devices": None, "device": None}
    return tree


def _fail(job: JobFolder, why: str) -> int:
    print(why, file=sys.stderr, flush=True)
    write_text(job.failure_file, printable(" ".join(why.split())) + "\n")
    return FAILED
