"""Runs a comparison from where it stands to its tables and pictures."""

import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import NamedTuple

from rich.console import Console

from fewmask.errors import UserError
from fewmask.recipe.folders import target_folder
from fewmask.run.scores import read_scores
from fewmask.say import say
from fewmask.study import results
from fewmask.study.compare.costs import Cost, Key, failed, read_costs
from fewmask.study.compare.folder import JobFolder, StudyFolder
from fewmask.study.compare.grid import Task, run_grid
from fewmask.study.compare.job import Questions, splits_of
from fewmask.study.compare.label_sets import ALL, data_settings, label_set
from fewmask.study.compare.launchers import Launcher
from fewmask.study.compare.plan import Cell, Row, Study, cells_of, rows_of
from fewmask.study.compare.plots import write_plots
from fewmask.study.compare.summary import Line, summarize
from fewmask.study.compare.tables import print_tables, write_tables
from fewmask.study.key import Run, run_of
from fewmask.study.origin import precision_in, release
from fewmask.study.results import Origin, Place, ResultRow, ResultTable, scores_of
from fewmask.study.speed import step_figures


class Comparison(NamedTuple):
    """What came of a comparison."""

    lines: list[Line]
    failures: dict[str, str]
    """The names of the runs that failed, with the reason."""


class _Planned(NamedTuple):
    """A run of the grid with its number of steps."""

    cell: Cell
    key: Run
    cost: Cost


def command_and_release() -> tuple[str, str]:
    """The command of this process, and the version of fewmask in the place of a commit."""
    return shlex.join(["fewmask", *sys.argv[1:]]), release()


def compare(
    study: Study,
    folder: StudyFolder,
    launcher: Launcher,
    console: Console | None = None,
    origin: Callable[[], tuple[str, str]] = command_and_release,
) -> Comparison:
    """Runs what is missing, cheapest first but all masks last, and writes the tables and the pictures.

    It may be stopped or killed at any point. Called again, it goes on: finished runs are skipped, and a run that was
    begun goes on from its newest checkpoint.

    Args:
        study: what is compared.
        folder: the files of the comparison.
        launcher: where its processes run.
        console: where lines for people go.
        origin: the command and the commit for the rows.

    Raises:
        UserError: the baseline cannot be trained, or a file cannot be read or written.
        Interrupted: it was asked to stop, and all its processes have stopped.
    """
    console = console or Console(stderr=True)
    with folder.claimed(study.settings):
        rows = rows_of(study)
        costs = _costs(study, rows, folder, launcher, console)
        table = ResultTable(folder.results_file)
        cells = [(cell, costs[cell.row.name]) for cell in cells_of(study, rows)]
        failures = {cell.name: cost.failure for cell, cost in cells if cost.failure}
        planned = [_Planned(cell, cell.key(study, cost.steps), cost) for cell, cost in cells if not cost.failure]
        failures |= _run(planned, table, folder, launcher, console, origin)
        standing = _standing(planned, table)
        _check_precision(standing, console)
        lines = _lines(study, rows, standing, costs)
        write_tables(lines, study.scored[0], failures, folder.path)
        print_tables(lines, study.scored[0], failures, console)
        try:
            write_plots(lines, study.baseline.method.name, study.scored[0], folder.path)
            say(console, f"Tables, pictures and every row: {folder.path}")
        except UserError as error:
            say(console, str(error), "yellow")
    return Comparison(lines, failures)


def _costs(study: Study, rows: list[Row], folder: StudyFolder, launcher: Launcher, console: Console) -> dict[str, Cost]:
    """What a run of each row costs; what the folder does not know yet is measured. Failures are tried again."""
    net, training = study.baseline.net, study.baseline.training
    keys = {
        row.name: Key(study.name, study.data, f"{net.arch}-{net.encoder}", row.name, study.budget, training.steps)
        for row in rows
    }
    known = {cost.key: cost for cost in read_costs(folder.costs_file) if not cost.failure}
    asked = {}
    for row in rows:
        key = keys[row.name]
        if isinstance(row.recipe, UserError):
            known[key] = failed(key, str(row.recipe))
        elif key not in known:
            asked[key] = Cell(row, study.labels[0].text, study.seeds[0], "").recipe(training.steps)
    if asked:
        say(console, f"Counting what a run costs, for {len(asked)} of {len(rows)} methods ...")
    baseline, job = keys[rows[0].name], folder.job("measure")
    while asked:
        before, problem = len(read_costs(folder.costs_file)), ""

        def settle(_: Task[None], why: str) -> None:
            nonlocal problem
            problem = why

        questions = Questions(asked, known.get(baseline), folder.costs_file)
        run_grid([Task("measure", None, job, partial(questions.write, job))], launcher, settle)
        answers = {cost.key: cost for cost in read_costs(folder.costs_file)[before:]}
        lost = next((key for key in asked if key not in answers), None)
        if lost is not None:  # its process ended while it was measured
            answers[lost] = failed(lost, problem or "its process ended before it was measured")
        known |= answers
        if known[baseline].failure:
            raise UserError(f"the baseline cannot be trained: {known[baseline].failure}")
        asked = {key: recipe for key, recipe in asked.items() if key not in answers}
    return {name: known[key] for name, key in keys.items()}


def _run(
    planned: list[_Planned],
    table: ResultTable,
    folder: StudyFolder,
    launcher: Launcher,
    console: Console,
    origin: Callable[[], tuple[str, str]],
) -> dict[str, str]:
    """Runs what the table lacks, and adds its rows; returns the names of the runs that failed, with the reason."""
    standing = {row.run for row in table.rows()}
    missing = [each for each in planned if each.key not in standing]
    missing.sort(key=lambda each: (each.cell.labels == ALL, each.cost.order))  # the gains stand first
    say(console, f"{len(planned)} runs, of which {len(planned) - len(missing)} stand already.")
    failures: dict[str, str] = {}
    done = count(1)

    def task_of(each: _Planned) -> Task[_Planned]:
        job = folder.job(each.cell.name)
        return Task("run", each, job, partial(job.write, each.cell.recipe(each.cost.steps)))

    def settle(task: Task[_Planned], why: str) -> None:
        name, head = task.item.cell.name, f"[{next(done)}/{len(missing)}]"
        if why:
            failures[name] = why
            say(console, f"{head} {name} failed: {why.rstrip('.')}. The rest goes on.", "red")
            return
        row = _result(task.item, task.job, *origin())
        table.append(row)
        scores = ", ".join(f"{place.split} {value:.1f}" for place, value in _shipped(row).items())
        say(console, f"{head} {name}: {scores} ({row.cost.seconds / 60:.1f} min)")

    run_grid(map(task_of, missing), launcher, settle)
    return failures


def _shipped(row: ResultRow) -> dict[Place, float]:
    """The means of the network that predicts."""
    return {
        place: score
        for place, score in row.scores.items()
        if score is not None and not place.class_name and place.network == row.predictor
    }


def _result(planned: _Planned, job: JobFolder, command: str, commit: str) -> ResultRow:
    """The row of a finished run, from its folder."""
    run, scores = job.run, dict[Place, float | None]()
    for split in splits_of(run, run.recipe()):
        evaluated = read_scores(run, split)
        scores |= scores_of(evaluated)
    times = job.times()
    cost = results.Cost(round(sum(seconds for seconds, _ in times)), *step_figures(run))
    origin = Origin(command, commit, times[-1][1], datetime.now(UTC).date().isoformat())
    return ResultRow(planned.key, planned.cell.row.name, evaluated["predictor"], scores, cost, origin)


def _standing(planned: list[_Planned], table: ResultTable) -> list[ResultRow]:
    """The results of the planned runs that stand, under the names of this comparison."""
    keys = {each.key: each.cell.row.name for each in planned}
    found = {row.run: row for row in table.rows() if row.run in keys}
    return [row._replace(row=keys[run]) for run, row in found.items()]


def _check_precision(standing: list[ResultRow], console: Console) -> None:
    """Says so if the runs did not all compute in one precision, as on machines that `auto` decides differently for."""
    found = sorted({precision_in(row.origin.machine) for row in standing} - {""})
    if len(found) > 1:
        fix = "To compare alike, start a comparison with --set training.precision=32."
        say(console, f"Some runs computed in {' and some in '.join(found)}. {fix}", "yellow")


def _lines(study: Study, rows: list[Row], standing: list[ResultRow], costs: dict[str, Cost]) -> list[Line]:
    """The summary of the runs that stand, in the order of the rows."""
    names = [row.name for row in rows]
    own = sorted(standing, key=lambda row: names.index(row.row))
    everything = label_set(ALL, target_folder(study.baseline.data), study.seeds)
    num_masks = {}
    for chosen in (*study.labels, everything):
        data = study.baseline.data.model_copy(update=data_settings(chosen.text, study.seeds[0]))
        labels = run_of(study.baseline.model_copy(update={"data": data}), study.name, study.data).labels
        num_masks[labels] = chosen.num_masks
    return summarize(own, study.baseline.method.name, num_masks, costs)
