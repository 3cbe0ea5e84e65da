"""The folder of a cross-validation: its plan, the images of each fold, a run folder for each, and their scores.

OUT/folds/  folds.yaml        the plan; its presence makes this a cross-validation
            learned_1.txt     the names of the labeled images that fold 1 learns from
            held_out_1.txt    the names of those that it is scored on
            1/                the run folder of fold 1, with its baseline
            scores.json       the means over the folds
OUT/        the run folder of the final model, which learns from all labeled images
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fewmask.errors import UserError, in_command
from fewmask.recipe import Recipe, make_recipe
from fewmask.run.atomic import write_text
from fewmask.run.files import damaged, read_text
from fewmask.run.folder import RunFolder
from fewmask.run.moved_lists import FOLDS
from fewmask.yaml_text import parse_yaml


class Plan(NamedTuple):
    """What a cross-validation is to do."""

    num_folds: int
    """The number of folds."""
    baseline: bool
    """Whether each fold trains the baseline, too."""
    final: bool
    """Whether a model is trained on all labeled images at the end."""
    recipe: Recipe
    """The recipe of the final model, of which the folds change only the lists of images."""


class FoldsFolder:
    """The places of a cross-validation; the object itself creates nothing.

    Args:
        out: the run folder of the final model.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out / FOLDS
        self.plan_file = self.path / "folds.yaml"
        self.scores_file = self.path / "scores.json"

    @property
    def is_begun(self) -> bool:
        """Whether there is a cross-validation in the folder."""
        return self.plan_file.exists()

    def fold(self, number: int) -> RunFolder:
        """The run of a fold; numbers begin at 1."""
        return RunFolder(self.path / str(number))

    def recipe(self, plan: Plan, number: int) -> Recipe:
        """The recipe of a fold; its lists are absolute, so that the fold can be scored from any working directory."""
        lists = {"labels": str(self._learned(number).resolve()), "held_out": self._held_out(number).resolve()}
        return plan.recipe.model_copy(update={"data": plan.recipe.data.model_copy(update=lists)})

    def plan(self) -> Plan:
        """The plan; raises UserError if it is lost or damaged."""
        try:
            read = parse_yaml(read_text(self.plan_file))
            return Plan(int(read["folds"]), read["baseline"], read["final"], make_recipe(read["recipe"]))
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(self.plan_file, error) from None

    def begin(self, plan: Plan, learned: Sequence[Sequence[str]], held_out: Sequence[Sequence[str]]) -> None:
        """Writes the plan, and the names of the images of each fold; raises UserError if they cannot be written."""
        texts = {"folds": plan.num_folds, "baseline": plan.baseline, "final": plan.final}
        content = texts | {"recipe": plan.recipe.model_dump(mode="json")}
        try:
            for number in range(1, plan.num_folds + 1):
                write_text(self._learned(number), "".join(f"{name}\n" for name in learned[number - 1]))
                write_text(self._held_out(number), "".join(f"{name}\n" for name in held_out[number - 1]))
            write_text(self.plan_file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))  # last
        except OSError as error:
            raise UserError(f"cannot write there ({error.strerror})", self.path, "Choose another --out.") from None

    def check_is_free(self) -> None:
        """Raises UserError if there is a cross-validation or a run."""
        self.check_holds_none()
        RunFolder(self.out).check_is_free()

    def check_holds_none(self) -> None:
        """Raises UserError if there is a cross-validation, whose final model belongs into the same folder."""
        if self.is_begun:
            fix = f"Go on with it: fewmask train --resume {in_command(self.out)}, or choose another --out."
            raise UserError("this folder already holds folds", self.path, fix)

    def claimed(self) -> AbstractContextManager[None]:
        """Keeps other processes from training here meanwhile; raises UserError if one is at it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write there ({error.strerror})", self.path, "Choose another --out.") from None
        return RunFolder(self.path).claimed()

    def write_scores(self, scores: Mapping[str, Any]) -> None:
        """Keeps the means over the folds; raises UserError if they cannot be written."""
        try:
            write_text(self.scores_file, json.dumps(scores, indent=2) + "\n")
        except OSError as error:
            what = f"the scores could not be written ({error.strerror})"
            fix = f"Mend this, then: fewmask train --resume {in_command(self.out)}"
            raise UserError(what, self.scores_file, fix) from None

    def _learned(self, number: int) -> Path:
        return self.path / f"learned_{number}.txt"

    def _held_out(self, number: int) -> Path:
        return self.path / f"held_out_{number}.txt"
