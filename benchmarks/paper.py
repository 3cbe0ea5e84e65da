"""A table of Alonso et al., ICCV 2021: the commands of its runs, their cost, and their scores beside the paper's.

    python benchmarks/paper.py 2 --data cityscapes=CITYSCAPES --coco resnet101COCO-41f33a49.pth
    python benchmarks/paper.py 4 --measure 20                # times steps of every recipe of the table on this device

Tables: 2 (Cityscapes), 3 (Pascal VOC), 4 (GTA5 to Cityscapes); their rows and recipes are in recipes/paper/. The script
prints commands for the runs that are not finished, for a shell in the root of the checkout. Only the commands go to
stdout, so `| sh` runs them one by one. An interrupted run goes on, and a run that two tables share is trained once.
`--measure` adds rows to benchmarks/paper_steps.csv, from which the cost is computed; only steps measured on a GPU
count. docs/paper.md says more.
"""

import argparse
import csv
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from fewmask.data.folder import read_folder
from fewmask.errors import UserError
from fewmask.methods import METHODS
from fewmask.recipe import Recipe, changed_settings, read_recipe, with_absolute_paths
from fewmask.run.folder import RunFolder
from fewmask.run.scores import read_scores
from fewmask.study.origin import machine
from paper_steps import measure_step
from table import ROOT, Table

HERE = Path(__file__).parent
FOLDER = Path("recipes") / "paper"
ALL = "all"
DATA = ("cityscapes", "voc", "gta5")
NUM_CLASSES = {"cityscapes": 19, "voc": 21}
NUM_TRAIN = {"cityscapes": 2975, "voc": 10582}
"""The number of train images with masks for which the tables hold. VOC has 1464 if the masks of SBD are missing."""
OF_THE_MACHINE = {"data.root", "source.root", "data.cache", "data.workers", "training.device"}
"""Settings of the machine: a run that differs from its recipe only in these is a run by this recipe."""


class Row(NamedTuple):
    """A row of a table: a recipe with a method."""

    block: str
    name: str
    recipe: str
    method: str
    paper: dict[str, float | None]
    """mIoU in percent by column. The row has no cell for a missing column; None is a cell without a number."""
    set: Mapping[str, Any] = MappingProxyType({})
    """The settings of the method, besides those of the recipe."""


class PaperTable(NamedTuple):
    """A table of the paper; `columns` gives the number of labels for each name of a column."""

    title: str
    columns: dict[str, int | str]
    rows: list[Row]


class Run(NamedTuple):
    """One training: a recipe with a method, a number of labels, and the seed that draws them."""

    recipe: str
    method: str
    labels: int | str
    seed: int
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return f"{self.recipe}-{self.method}-{self.labels}-split{self.seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=int, choices=[2, 3, 4])
    parser.add_argument("--data", nargs="*", type=place, default=[], metavar="NAME=PATH", help=f"of {', '.join(DATA)}")
    parser.add_argument("--coco", help="the file of the COCO weights")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "paper", help="where run folders go")
    parser.add_argument("--split-seeds", type=whole_from(0), nargs="+", default=[0, 1, 2])
    parser.add_argument("--step-seconds", type=Path, default=HERE / "paper_steps.csv", help="the measured steps")
    parser.add_argument(
        "--measure", type=whole_from(1), metavar="N", help="time N steps of every stage of every run, and end"
    )
    args = parser.parse_args()
    if len(set(args.split_seeds)) < len(args.split_seeds):
        parser.error("argument --split-seeds: a seed stands there twice")
    try:
        carry_out(args)
    except UserError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def carry_out(args: argparse.Namespace) -> None:
    """Measures steps, or prints the commands, the table, and the deviations from the table."""
    table = read_table(args.table)
    if args.measure:
        add_steps(table, args.step_seconds, args.measure)
        return
    places = dict(args.data) | ({"coco": args.coco} if args.coco else {})
    runs = runs_of(table, args.split_seeds)
    for run in runs:
        if line := command(run, args.runs, places):
            print(line, flush=True)
    console = Console(stderr=True, width=140)
    print_table(table, args.runs, args.split_seeds, gpu_steps(args.step_seconds), console)
    for note in (*other_data(places), *deviations(runs, args.runs, places)):
        console.print(note, markup=False)


def place(text: str) -> tuple[str, str]:
    """NAME=PATH as (NAME, PATH)."""
    name, _, path = text.partition("=")
    if name not in DATA or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH with one of {', '.join(DATA)}")
    return name, path


def whole_from(least: int) -> Callable[[str], int]:
    """A function that reads whole numbers and refuses those below `least`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} or more")
        return int(text)

    return number


def read_table(number: int) -> PaperTable:
    """The table in the file recipes/paper/tableNUMBER.yaml."""
    table = yaml.safe_load((ROOT / FOLDER / f"table{number}.yaml").read_text(encoding="utf-8"))
    rows = [Row(block=block, name=name, **row) for block, named in table["rows"].items() for name, row in named.items()]
    return PaperTable(f"Table {number}: {table['title']}", table["columns"], rows)


def runs_of(table: PaperTable, seeds: Sequence[int]) -> list[Run]:
    """The runs of a table, row by row."""
    return [run for row in table.rows for column in row.paper for run in cell_runs(table, row, column, seeds)]


def cell_runs(table: PaperTable, row: Row, column: str, seeds: Sequence[int]) -> list[Run]:
    """One run for each seed. With all masks there is only one split, and no run if a method needs unlabeled images."""
    labels, settings = table.columns[column], tuple(row.set.items())
    if labels != ALL:
        return [Run(row.recipe, row.method, labels, seed, settings) for seed in seeds]
    learns_from_unlabeled = next(
        kind.needs(kind.Config(name=kind.name)).unlabeled for kind in METHODS if kind.name == row.method
    )
    return [] if learns_from_unlabeled else [Run(row.recipe, row.method, labels, seeds[0], settings)]


def planned(run: Run, places: Mapping[str, str]) -> tuple[Recipe, dict[str, str]]:
    """The recipe of a run, and those of its settings that say where data and weights are."""
    own = {"method.name": run.method, "data.labels": run.labels, "data.split_seed": run.seed, **dict(run.settings)}
    path = ROOT / FOLDER / f"{run.recipe}.yaml"
    recipe = read_recipe(path, own)
    names = {"data.root": recipe.data.root.name}
    if recipe.source is not None:
        names["source.root"] = recipe.source.root.name
    if run.recipe.endswith("_coco"):
        names["net.weights"] = "coco"
    where = {key: places[name] for key, name in names.items() if name in places}
    return read_recipe(path, own | where), where


def command(run: Run, folder: Path, places: Mapping[str, str]) -> str:
    """The commands for a run in a shell; empty if the run is finished and scored."""
    files = RunFolder(folder / run.name)
    out = str(files.path)
    score = shlex.join(["fewmask", "evaluate", out])  # scores val, at full label size
    if files.scores_file("val").exists():
        return ""
    if files.is_finished:
        return score
    if files.is_begun:
        return f"{shlex.join(['fewmask', 'train', '--resume', out])} && {score}"
    words = ["fewmask", "train", str(FOLDER / f"{run.recipe}.yaml"), "--method", run.method]
    words += ["--labels", str(run.labels), "--split-seed", str(run.seed)]
    for key, value in {**dict(run.settings), **planned(run, places)[1]}.items():
        words += ["--set", f"{key}={value}"]
    return f"{shlex.join([*words, '--out', out])} && {score}"


def deviations(runs: Sequence[Run], folder: Path, places: Mapping[str, str]) -> list[str]:
    """A line for every scored run that was not trained by its recipe."""
    lines = []
    for run in runs:
        files = RunFolder(folder / run.name)
        if files.scores_file("val").exists():
            changed = changed_settings(with_absolute_paths(planned(run, places)[0]), files.recipe())
            said = [f"{key} {new}, not {old}" for key, (old, new) in changed.items() if _is_another(key, old, new)]
            lines += [f"{run.name} is not by its recipe: {'; '.join(said)}"] if said else []
    return lines


def other_data(places: Mapping[str, str]) -> list[str]:
    """A line for every data set on this machine that is not the one of the tables."""
    lines = []
    for name in NUM_TRAIN.keys() & places.keys():
        if Path(places[name]).is_dir():
            found = sum(sample.mask is not None for sample in read_folder(places[name]).train)
            if found != NUM_TRAIN[name]:
                lines.append(f"{name} is not that of the paper: {found} train images have masks, not {NUM_TRAIN[name]}")
    return sorted(lines)


def _is_another(key: str, old: Any, new: Any) -> bool:
    """Whether a setting makes another run. For a file of weights the name counts, and not its folder."""
    return Path(old).name != Path(new).name if key == "net.weights" else key not in OF_THE_MACHINE


def print_table(
    table: PaperTable, folder: Path, seeds: Sequence[int], steps: Mapping[tuple[str, str], dict[str, str]], to: Console
) -> None:
    """Prints the paper's numbers and ours, cell by cell, with the GPU hours of all runs of a row."""
    grid = Grid(title=f"{table.title}, mIoU on val: paper | ours, mean ± standard deviation (splits)")
    grid.add_column("method")
    for column in table.columns:
        grid.add_column(column, justify="right")
    grid.add_column("GPU hours", justify="right")
    block = ""
    for row in table.rows:
        if row.block != block:
            block = row.block
            grid.add_section()
            grid.add_row(escape(block), style="bold")
        cells = [cell(table, row, column, folder, seeds) for column in table.columns]
        grid.add_row(escape(row.name), *cells, cost(table, row, seeds, steps))
    to.print(grid)
    for name in sorted({steps[key]["machine"] for row in table.rows if (key := (row.recipe, row.method)) in steps}):
        to.print(f"GPU hours: the steps alone, as measured on {name}.")


def cell(table: PaperTable, row: Row, column: str, folder: Path, seeds: Sequence[int]) -> str:
    """`58.0 | 57.12 ± 0.43 (3)`; a dash stands for a missing number, and a missing cell is empty."""
    if column not in row.paper:
        return ""
    number = row.paper[column]
    scores = [score for run in cell_runs(table, row, column, seeds) if (score := scored(folder / run.name)) is not None]
    return f"{'-' if number is None else number} | {summary(scores)}"


def scored(folder: Path) -> float | None:
    """mIoU on val, in percent, of the network that the method ships; None if the run is not scored."""
    run = RunFolder(folder)
    return 100 * read_scores(run, "val")["miou"] if run.scores_file("val").exists() else None


def summary(scores: Sequence[float]) -> str:
    """The mean, the standard deviation if there are two or more scores, and their number."""
    if not scores:
        return "-"
    spread = f" ± {stdev(scores):.2f}" if len(scores) > 1 else ""
    return f"{mean(scores):.2f}{spread} ({len(scores)})"


def cost(table: PaperTable, row: Row, seeds: Sequence[int], steps: Mapping[tuple[str, str], dict[str, str]]) -> str:
    """The GPU hours of all runs of the row, finished or not."""
    if (row.recipe, row.method) not in steps:
        return "not measured"
    runs = [run for column in row.paper for run in cell_runs(table, row, column, seeds)]
    num_steps = planned(runs[0], {})[0].training.steps
    hours = len(runs) * num_steps * float(steps[row.recipe, row.method]["seconds"]) / 3600
    return f"{hours:.0f} ({len(runs)} runs)"


def gpu_steps(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The row that was measured last on a GPU, by recipe and method."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {(row["recipe"], row["method"]): row for row in csv.DictReader(file) if row["device"] == "cuda"}


def add_steps(table: PaperTable, path: Path, repeats: int) -> None:
    """Appends a row for every recipe and method of the table that was not yet measured on this machine."""
    measured = Table(path, ("machine", "recipe", "method"))
    for run in runs_of(table, [0]):
        key: dict[str, Any] = {"machine": machine(), "recipe": run.recipe, "method": run.method}
        if not measured.holds(**key):
            recipe = planned(run, {})[0]
            measured.append(key | measure_step(recipe, NUM_CLASSES[recipe.data.root.name], repeats))
            print(measured.rows()[-1], flush=True)


if __name__ == "__main__":
    main()
