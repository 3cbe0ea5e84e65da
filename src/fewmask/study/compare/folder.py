"""The folder of a comparison, which any of its commands goes on from.

STUDY/  study.yaml        what all runs share: the recipe, the settings of methods, the budget, the files of the data
        costs.csv         what a run of each method costs, and its number of steps (costs.py)
        results.csv       a row for every finished run (study/results.py)
        failures.csv      the runs that failed in the last command, and why
        table.csv  .md    means, intervals and gains
        labels.png  .svg  scores over the number of masks
        gains.png  .svg   gains over the baseline
        runs/NAME/        the run folder of every run
        jobs/NAME/        of every process: its recipe, its log, its times, its failure
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from fewmask.errors import UserError, quoted
from fewmask.recipe import Recipe, make_recipe, read_recipe, recipe_yaml, with_absolute_paths
from fewmask.run.atomic import write_text
from fewmask.run.folder import RunFolder
from fewmask.study.lines import append_line, whole_lines
from fewmask.yaml_text import YamlError, parse_yaml

_ANOTHER = "Choose another --out."


class JobFolder:
    """What a process of the comparison is given, and what it leaves; the object itself creates nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.yaml"
        self.log_file = path / "log.txt"
        self.times_file = path / "times.csv"
        self.failure_file = path / "failure.txt"

    @property
    def run(self) -> RunFolder:
        """The run that the process trains."""
        return RunFolder(self.path.parents[1] / "runs" / self.path.name)

    def write(self, recipe: Recipe) -> None:
        """Keeps the recipe for the process, and forgets how an earlier process failed."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.failure_file.unlink(missing_ok=True)
        write_text(self.recipe_file, recipe_yaml(with_absolute_paths(recipe)))

    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return read_recipe(self.recipe_file)

    def add_time(self, seconds: float, machine: str) -> None:
        """Keeps how long a part of the run took, and where."""
        append_line(self.times_file, ("seconds", "machine"), (f"{seconds:.1f}", machine))

    def times(self) -> list[tuple[float, str]]:
        """Seconds and machine of every part of the run."""
        lines = whole_lines(self.times_file).splitlines()[1:]
        parts = [line.partition(",") for line in lines]
        return [(float(seconds), machine.strip('"')) for seconds, _, machine in parts]

    def failure(self) -> str:
        """Why the last process failed; empty if it did not say."""
        return self.failure_file.read_text(encoding="utf-8").strip() if self.failure_file.exists() else ""


class StudyFolder:
    """The places of a comparison's files.

    Args:
        path: the folder.
        results: another place for the rows of finished runs.
        costs: another place for what runs cost.
    """

    def __init__(self, path: Path, results: Path | None = None, costs: Path | None = None) -> None:
        self.path = path
        self.study_file = path / "study.yaml"
        self.results_file = results or path / "results.csv"
        self.costs_file = costs or path / "costs.csv"
        self.failures_file = path / "failures.csv"

    def job(self, name: str) -> JobFolder:
        """The folder of a process."""
        return JobFolder(self.path / "jobs" / name)

    @contextmanager
    def claimed(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Makes the folder for runs that share these settings, and keeps other commands from it.

        Raises:
            UserError: the folder holds something else, or another comparison, or a command works there.
        """
        if not self.study_file.exists() and self._holds_something():
            raise UserError("there is something that is no comparison", self.path, _ANOTHER)
        lock = FileLock(self.path / ".lock", timeout=2)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise UserError("another command works on this comparison", self.path, "Wait for it.") from None
        except OSError as error:
            raise self._cannot_write(error) from None
        try:
            if self.study_file.exists():
                self._check_same(settings)
            else:
                self._write(settings)
            yield
        finally:
            lock.release()

    def _write(self, settings: Mapping[str, Any]) -> None:
        try:
            write_text(self.study_file, yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True))
        except OSError as error:
            raise self._cannot_write(error) from None

    def _cannot_write(self, error: OSError) -> UserError:
        return UserError(f"cannot write there ({error.strerror})", self.path, _ANOTHER)

    def _holds_something(self) -> bool:
        """Whether there is a file, or a folder that holds more than what a killed command left."""
        if not self.path.is_dir():
            return self.path.exists()
        return any(path.name != ".lock" for path in self.path.iterdir())

    def _check_same(self, settings: Mapping[str, Any]) -> None:
        """Raises UserError if the folder was made for other settings or data; methods, masks and seeds may be added."""
        try:
            before = parse_yaml(self.study_file.read_text(encoding="utf-8"))
        except (YamlError, ValueError):
            before = None
        if not isinstance(before, Mapping) or not isinstance(before.get("recipe"), Mapping):
            raise UserError("the file is damaged", self.study_file, _ANOTHER)
        recipe = make_recipe(before["recipe"], source=str(self.study_file))  # a setting that it lacks has its default
        before = {"images": settings["images"], **before, "recipe": recipe.model_dump(mode="json")}
        old, new = _flat(before), _flat(settings)
        for key in dict.fromkeys((*old, *new)):
            if old.get(key) != new.get(key):
                what = f"the comparison there has {key} {quoted(old.get(key))}, and this one {quoted(new.get(key))}"
                raise UserError(what, self.path, "Give the same data and settings, or another --out.")


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    return {
        path: value
        for key, inner in tree.items()
        for path, value in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }
