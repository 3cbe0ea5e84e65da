"""A comparison of tiny runs whose jobs run in the process of the test, one after the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from fewmask.study.compare import Comparison, Study, StudyFolder, compare, plan_study
from fewmask.study.compare.folder import JobFolder
from fewmask.study.compare.job import do_job
from fewmask.study.compare.launchers import Ending, Launcher
from toy import write_recipe


class Done:
    """A process that has ended."""

    def __init__(self, ending: Ending) -> None:
        self._ending = ending

    def ending(self) -> Ending:
        return self._ending

    def stop(self) -> None: ...


class Here:
    """Does jobs at once; a job in `killed` ends as a process that was killed. `names` are those of the jobs."""

    jobs = 1

    def __init__(self, *killed: str) -> None:
        self.killed, self.names = killed, list[str]()

    def start(self, task: str, job: JobFolder) -> Done:
        self.names.append(job.path.name)
        if job.path.name in self.killed:
            return Done(Ending(-9, "the process was killed"))
        return Done(Ending(do_job(task, job.path)))


def planned(folder: Path, data: Path, methods: Sequence[str], **wanted: Any) -> Study:
    """A comparison of two steps with the small network; `wanted` may change labels, seeds, settings and more."""
    training = {"steps": 2, "checkpoint_every": 100, "log_every": 1} | wanted.pop("training", {})
    recipe = write_recipe(folder / "recipe.yaml", data, "supervised", **training)
    grid = {"labels": ["2"], "seeds": range(1), "settings": {}} | wanted
    return plan_study(recipe, methods, **grid)


class Finished(NamedTuple):
    """A comparison that has run."""

    study: Study
    out: Path
    result: Comparison


def compared(study: Study, out: Path, launcher: Launcher | None = None) -> Comparison:
    """The comparison in the folder `out`."""
    with (out.parent / "said.txt").open("a") as said:
        return compare(study, StudyFolder(out), launcher or Here(), Console(file=said, width=200))
