"""Scores on val while a run trains, and its best networks so far, kept where the recipe asks for them."""

import csv
import io
from typing import TYPE_CHECKING

from fewmask.data.folder import Folder
from fewmask.methods import Step
from fewmask.recipe import Recipe
from fewmask.run.atomic import write_bytes, write_text
from fewmask.run.checkpoint import cannot_write, state_bytes
from fewmask.run.folder import RunFolder
from fewmask.run.validation import Look, best_look, read_looks, selects, steps_between_looks
from fewmask.training.hooks.hook import Hook
from fewmask.use.model import labeled_samples, score

if TYPE_CHECKING:
    from fewmask.training.trainer import Trainer


class Validation(Hook):
    """Looks at val, each a line of validation.csv; a resumed run takes those after its checkpoint again.

    Args:
        first: steps already done.

    Raises:
        UserError: a file cannot be written, here or later.
    """

    def __init__(self, run: RunFolder, folder: Folder, recipe: Recipe, first: int) -> None:
        self._run, self._folder, self._recipe = run, folder, recipe
        self._looks = [look for look in read_looks(run) if look.step <= first]

    def on_step(self, trainer: "Trainer", step: Step) -> None:
        between, is_last_stage = steps_between_looks(self._recipe), trainer.position.stage == len(trainer.stages) - 1
        is_due = between > 0 and (trainer.done % between == 0 or trainer.done == trainer.training.steps)
        if is_due and is_last_stage:
            trainer.alone(lambda: self._look(trainer))
            trainer.wants_checkpoint = True

    def _look(self, trainer: "Trainer") -> None:
        """Scores every network; with `select: best_val` keeps them where the shipped one is the best so far."""
        nets, step = dict(sorted(trainer.method.networks().items())), trainer.done
        samples = labeled_samples({"val": self._folder.val}, "val", self._folder.root)
        scores = score(nets, samples, self._folder.classes, self._recipe)
        trainer.method.train()
        self._forget_all_but_the_best()  # of the looks that the newest checkpoint knows
        self._looks.append(Look(step, {name: found.miou or 0.0 for name, found in scores.items()}))
        is_best = best_look(self._looks, self._recipe.needs.networks[0]) is self._looks[-1]
        try:
            if is_best and selects(self._recipe):
                self._run.checkpoints.mkdir(exist_ok=True)
                for name, net in nets.items():
                    write_bytes(self._run.best_file(name, step), state_bytes(net))
            write_text(self._run.validation_file, self._as_csv(list(nets)))
        except OSError as error:
            raise cannot_write(self._run, "the scores on val", error) from None

    def _forget_all_but_the_best(self) -> None:
        best = best_look(self._looks, self._recipe.needs.networks[0]).step if self._looks else None
        for file in self._run.checkpoints.glob("best_*"):
            if best is None or file not in {self._run.best_file(name, best) for name in self._recipe.needs.networks}:
                file.unlink(missing_ok=True)

    def _as_csv(self, nets: list[str]) -> str:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["step", *nets])
        table.writerows([look.step, *(look.miou[name] for name in nets)] for look in self._looks)
        return text.getvalue()
