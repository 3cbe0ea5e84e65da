"""A run folder: the places of its files, who may write there, and the files that every run has.

RUN/  recipe.yaml              every setting of the run, defaults included; its presence makes this a run folder
      dataset.yaml             the classes, and how the masks of the training encode them
      labeled.txt              the names of the images whose masks the run learns from, one a line
      unlabeled.txt            the file names of the images that the run learns from without a mask
      source.txt               the names of the images of the source domain, if there is one
      metrics.csv              losses and other values, a row every `training.log_every` steps (run/metrics.py)
      events.out.tfevents.*    the same values for TensorBoard
      validation.csv           mIoU on val of every network, if the recipe asks for it (run/validation.py)
      validation_classes.csv   IoU and precision on val of every network and class (run/class_scores.py)
      checkpoints/             the newest state of an unfinished run, and best_NETWORK_STEP.safetensors if the run
                               selects on val (run/checkpoint.py)
      features/                looks at the features, one file each, and the pictures that they show (run/features.py)
      features.csv  .png       the distances of all looks, and their drawing
      pretrained.safetensors   the weights after a stage that pre-trains
      NETWORK.safetensors      the weights of each network; a finished run has all of them
      report.html              the page about the finished run (report/report.py)
      scores_SPLIT.json        the scores of the finished run on val, test or train (run/scores.py)
      tallies/                 the counts of pixels that these scores and a report follow from (run/tallies.py)
      baseline/                the run folder of the supervised baseline, if one was trained
      folds/                   the runs of a cross-validation (run/folds.py)
      .lock                    held by the process that trains here

Only this package parses these files. A reader raises a UserError of one line if a file is lost or damaged.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from fewmask.data.classes import Classes, read_classes, write_classes
from fewmask.data.partition import Partition
from fewmask.errors import UserError, in_command
from fewmask.recipe import Recipe, read_recipe, recipe_yaml
from fewmask.run.atomic import is_part, write_text
from fewmask.run.files import lost
from fewmask.run.moved_lists import with_lists_beside
from fewmask.run.names import read_names, write_names

_PATIENCE = 6  # seconds: readers that share the lock of a killed run see within 5 that it is gone
_PRETRAINED = "pretrained"
_LOCK = ".lock"
_ANOTHER = "Choose another --out."


class Beginning(NamedTuple):
    """What a run depends on from its start, which its folder keeps."""

    recipe: Recipe
    classes: Classes
    partition: Partition
    source_names: list[str] | None = None
    """The names of the images of the source domain; None without one."""


class RunFolder:
    """The places of a run's files; the object itself creates nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.yaml"
        self.classes_file = path / "dataset.yaml"
        self.labeled_file = path / "labeled.txt"
        self.unlabeled_file = path / "unlabeled.txt"
        self.source_file = path / "source.txt"
        self.metrics_file = path / "metrics.csv"
        self.validation_file = path / "validation.csv"
        self.class_scores_file = path / "validation_classes.csv"
        self.checkpoints = path / "checkpoints"
        self.features = path / "features"
        self.features_table = path / "features.csv"
        self.features_picture = path / "features.png"
        self.report = path / "report.html"

    def model_file(self, network: str) -> Path:
        """The file of a network's weights by its name; `pretrained` is the shipped network after pre-training."""
        return self.path / f"{network}.safetensors"

    def best_file(self, network: str, step: int) -> Path:
        """The file of a network's weights at the step with the best score on val so far."""
        return self.checkpoints / f"best_{network}_{step}.safetensors"

    def scores_file(self, split: str) -> Path:
        """The file of the scores on a split."""
        return self.path / f"scores_{split}.json"

    def tally_file(self, split: str) -> Path:
        """The file of the counts of pixels on a split."""
        return self.path / "tallies" / f"{split}.safetensors"

    @property
    def baseline(self) -> "RunFolder":
        """The run of the supervised baseline; its `is_begun` says whether one was trained."""
        return RunFolder(self.path / "baseline")

    @property
    def is_begun(self) -> bool:
        """Whether there is a run in the folder."""
        return self.recipe_file.exists()

    @property
    def is_finished(self) -> bool:
        """Whether the weights of every network that the recipe names are there.

        Raises:
            UserError: the recipe is damaged.
        """
        return self.is_begun and all(self.model_file(name).exists() for name in self.recipe().networks)

    def networks(self) -> tuple[str, ...]:
        """The names of the networks whose weights are there, in alphabetical order; empty before the end of a run."""
        names = sorted(file.stem for file in self.path.glob("*.safetensors"))
        return tuple(name for name in names if name != _PRETRAINED)

    def recipe(self) -> Recipe:
        """The complete recipe of the run."""
        if not self.is_begun:
            raise UserError("this is no run folder: it has no recipe.yaml", self.path, "Give the --out of a training.")
        return with_lists_beside(read_recipe(self.recipe_file), self.path)

    def classes(self) -> Classes:
        """The classes that the run was trained on."""
        if not self.classes_file.is_file():
            raise lost(self.classes_file)
        return read_classes(self.path)

    def labeled_names(self) -> list[str]:
        """The names of the images whose masks the run was trained on."""
        return read_names(self.labeled_file)

    def unlabeled_names(self) -> list[str] | None:
        """The file names of the images that the run may learn from without a mask; None if an old run kept no such
        list.

        If the method learns from labels alone, these are the images that it leaves out.
        """
        return read_names(self.unlabeled_file) if self.unlabeled_file.exists() else None

    def source_names(self) -> list[str] | None:
        """The names of the images of the source domain; None if the run has no source domain."""
        return read_names(self.source_file) if self.source_file.exists() else None

    @contextmanager
    def begun(self, beginning: Beginning, baseline: Beginning | None = None) -> Iterator[None]:
        """Makes the folder of a new run, and keeps other processes from it until the end of the context.

        A run that ended before it saved anything, because of a mistake or a lack of memory, is begun anew.

        Args:
            beginning: what the run depends on.
            baseline: what its baseline depends on, if one is to be trained beside it.

        Raises:
            UserError: the folder is in use, which is decided while no other process can write there, or it cannot be
                written.
        """
        self.check_is_free()  # also here, so that nothing at all is written into a folder that is somebody else's
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_write(error) from None
        with self.claimed():
            self.check_is_free()
            try:
                if self.is_begun:
                    self._clear()
                self._clear_baseline()
                if baseline is not None:  # first, so that no run has lost the baseline that it was started with
                    self.baseline._write(baseline)
                self._write(beginning)
            except OSError as error:
                raise self._cannot_write(error) from None
            yield

    def check_is_free(self) -> None:
        """Raises UserError if the folder holds a run that has saved something, or what is of no run."""
        if self.is_begun and not self.labeled_file.exists():
            raise UserError("this folder holds a recipe.yaml that is of no run", self.path, _ANOTHER)
        if self._has_saved():
            if self.is_begun:
                raise UserError("this folder already holds a run", self.path, self._instead())
            raise UserError("this folder holds weights or checkpoints of no run", self.path, _ANOTHER)
        if self.baseline._has_saved():
            raise UserError("this folder already holds the baseline of another run", self.path, _ANOTHER)
        if (self.path / "train").exists():  # otherwise its dataset.yaml would be overwritten
            raise UserError("this folder holds a dataset", self.path, _ANOTHER)

    def _instead(self) -> str:
        if self.is_finished:
            return "It is finished: choose another --out."
        return f"Go on with it: fewmask train --resume {in_command(self.path)}, or choose another --out."

    def _has_saved(self) -> bool:
        return bool(self.networks()) or any(self.checkpoints.glob("stage*"))

    def _write(self, beginning: Beginning) -> None:
        self.path.mkdir(exist_ok=True)
        write_classes(beginning.classes, self.classes_file)
        if beginning.source_names is not None:
            write_names(self.source_file, beginning.source_names)
        write_names(self.unlabeled_file, [path.name for path in beginning.partition.unlabeled])
        write_names(self.labeled_file, [sample.name for sample in beginning.partition.labeled])
        write_text(self.recipe_file, recipe_yaml(beginning.recipe))  # last, because its presence makes this a run

    def _clear(self) -> None:
        """Removes what was written by a run that has saved nothing; if it is killed here, it is still such a run."""
        for folder in (self.checkpoints, self.features, self.path / "tallies"):
            shutil.rmtree(folder, ignore_errors=True)
        tables = (self.metrics_file, self.validation_file, self.class_scores_file, self.features_table)
        logs = (*tables, self.features_picture, self.report)
        lists = (self.classes_file, self.labeled_file, self.unlabeled_file, self.source_file)
        events = self.path.glob("events.out.tfevents.*")
        scores = self.path.glob("scores_*.json")
        for path in (*logs, *events, *scores, self.model_file(_PRETRAINED), self.recipe_file, *lists):
            path.unlink(missing_ok=True)

    def _clear_baseline(self) -> None:
        """Removes the baseline of a run that was begun and has saved nothing; other folders of this name stay."""
        baseline = self.baseline
        if baseline.is_begun:
            with baseline.claimed():
                baseline._clear()
            (baseline.path / _LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # it may hold files of somebody else
                baseline.path.rmdir()

    def _cannot_write(self, error: OSError) -> UserError:
        return UserError(f"cannot write there ({error.strerror})", self.path, _ANOTHER)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other processes from training in the folder meanwhile; raises UserError if one is training already.

        What a killed process left half written is removed.
        """
        lock = FileLock(self.path / _LOCK, timeout=_PATIENCE)
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
            for folder in (self.path, self.checkpoints, self.features):
                _remove_parts(folder)
            yield
        finally:
            lock.release()


def check_data_is_there(run: RunFolder, recipe: Recipe) -> None:
    """Raises UserError if the data folder of a run is gone; the error says what to do if the folder was moved."""
    if not recipe.data.root.exists():
        fix = f"Put it back, or write where it and its lists are now in the block data of {run.recipe_file}."
        raise UserError("the data of the run is not there any more", recipe.data.root, fix)


def _remove_parts(folder: Path) -> None:
    for path in filter(is_part, folder.glob(".*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
