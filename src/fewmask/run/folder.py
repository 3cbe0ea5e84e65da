"""A run folder: recipe, classes, labeled names, metrics, checkpoint, model and scores of one training."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fewmask.data.classes import Classes, read_classes, write_classes
from fewmask.data.partition import Partition
from fewmask.errors import UserError, in_command
from fewmask.recipe import Recipe, read_recipe, recipe_yaml
from fewmask.run.atomic import write_text

_PATIENCE = 6  # seconds: readers of a killed run, which share its lock, see within 5 that it is gone


class RunFolder:
    """The places of a run's files; makes nothing by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.yaml"
        self.metrics_file = path / "metrics.csv"
        self.labeled_file = path / "labeled.txt"
        self.unlabeled_file = path / "unlabeled.txt"
        self.source_file = path / "source.txt"
        self.checkpoints = path / "checkpoints"
        self.validation_file = path / "validation.csv"
        self.features = path / "features"
        self.features_table = path / "features.csv"
        self.features_picture = path / "features.png"

    def model_file(self, which: str) -> Path:
        """Weights of the `student` or the `teacher`, or of the student as it was `pretrained`."""
        return self.path / f"{which}.safetensors"

    def best_file(self, which: str, step: int) -> Path:
        """Weights of the `student` or the `teacher` at a step that is the best on val so far."""
        return self.checkpoints / f"best_{which}_{step}.safetensors"

    def scores_file(self, split: str) -> Path:
        """The scores on a split."""
        return self.path / f"scores_{split}.json"

    def create(
        self, recipe: Recipe, classes: Classes, partition: Partition, source_names: list[str] | None = None
    ) -> None:
        """Makes the folder and writes what the run is a function of; a folder in use is left alone.

        A run that ended before it saved anything, by a mistake or for want of memory, is begun anew.
        """
        if self.recipe_file.exists() and not self.labeled_file.exists():
            raise UserError("this folder holds a recipe.yaml that is of no run", self.path, "Choose another --out.")
        if self.recipe_file.exists() and self._has_saved():
            raise UserError("this folder already holds a run", self.path, self._instead())
        if (self.path / "train").exists():  # else its dataset.yaml would be written over
            raise UserError("this folder holds a dataset", self.path, "Choose another --out.")
        try:
            if self.recipe_file.exists():
                with self.claimed():
                    self._clear()
            self.path.mkdir(parents=True, exist_ok=True)
            write_classes(classes, self.path / "dataset.yaml")
            if source_names is not None:
                write_text(self.source_file, "".join(f"{name}\n" for name in source_names))
            write_text(self.unlabeled_file, "".join(f"{path.name}\n" for path in partition.unlabeled))
            write_text(self.labeled_file, "".join(f"{sample.name}\n" for sample in partition.labeled))
            write_text(self.recipe_file, recipe_yaml(recipe))  # last: its presence makes this a run
        except OSError as error:
            raise UserError(f"cannot write there ({error.strerror})", self.path, "Choose another --out.") from None

    def _instead(self) -> str:
        if self.model_file("student").exists():
            return "It is finished: choose another --out."
        return f"Go on with it: fewmask train --resume {in_command(self.path)}, or choose another --out."

    def _has_saved(self) -> bool:
        return self.model_file("student").exists() or any(self.checkpoints.glob("stage*"))

    def _clear(self) -> None:
        """Removes what a run that has saved nothing has written."""
        for folder in (self.checkpoints, self.features):
            shutil.rmtree(folder, ignore_errors=True)
        if not RunFolder(self.path / "baseline")._has_saved():
            shutil.rmtree(self.path / "baseline", ignore_errors=True)
        logs = (self.metrics_file, self.validation_file, self.features_table, self.features_picture, self.source_file)
        for path in (*logs, *self.path.glob("events.out.tfevents.*"), self.model_file("pretrained"), self.recipe_file):
            path.unlink(missing_ok=True)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other processes from training in the folder; raises UserError if one does already."""
        lock = FileLock(self.path / ".lock", timeout=_PATIENCE)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(
                "another process is training in this folder",
                self.path,
                "Wait for it, or start another run with another --out.",
            ) from None
        except OSError as error:
            raise UserError(f"cannot write there ({error.strerror})", self.path, "Is the folder yours?") from None
        try:
            yield
        finally:
            lock.release()

    def recipe(self) -> Recipe:
        """The complete recipe of the run."""
        if not self.recipe_file.exists():
            raise UserError("this is no run folder: it has no recipe.yaml", self.path, "Give the --out of a training.")
        return read_recipe(self.recipe_file)

    def classes(self) -> Classes:
        """The classes it was trained on."""
        if not (self.path / "dataset.yaml").is_file():
            raise self.incomplete("dataset.yaml")
        return read_classes(self.path)

    def labeled_names(self) -> list[str]:
        """The images whose masks it was trained on."""
        if not self.labeled_file.is_file():
            raise self.incomplete(self.labeled_file.name)
        return self.labeled_file.read_text(encoding="utf-8").splitlines()

    def names(self, file: Path) -> list[str] | None:
        """The names in one of its lists; None where it has none, or was begun before these were kept."""
        return file.read_text(encoding="utf-8").splitlines() if file.is_file() else None

    def incomplete(self, file: str) -> UserError:
        """What to tell a person where a file of the run is gone."""
        return UserError(f"the run has lost its {file}", self.path, "Copy the folder again, or train anew.")


def check_data_is_there(run: RunFolder, recipe: Recipe) -> None:
    """Raises where the data of a run is gone, as a whole: with what to do if it was moved."""
    if not recipe.data.root.exists():
        fix = f"Put it back, or write where it and its lists are now in the block data of {run.recipe_file}."
        raise UserError("the data of the run is not there any more", recipe.data.root, fix)
