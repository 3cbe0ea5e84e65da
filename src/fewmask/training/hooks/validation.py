"""Scores val while a run trains, and keeps the best networks so far if the recipe asks for them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fewmask.data.folder import Folder
from fewmask.methods import Step
from fewmask.models.ranks import take_from_first_rank
from fewmask.recipe import Recipe
from fewmask.run.atomic import write_bytes
from fewmask.run.checkpoint import cannot_write, state_bytes
from fewmask.run.class_scores import ClassScore, class_scores_so_far, write_class_scores
from fewmask.run.folder import RunFolder
from fewmask.run.validation import (
    ValScore,
    best_val_score,
    selects,
    steps_between_val_scores,
    write_val_scores,
)
from fewmask.shapes import Confusion
from fewmask.training.hooks.hook import Hook
from fewmask.use.deployed import Deployed
from fewmask.use.evaluate import confusions, labeled_samples
from fewmask.use.scores import scores_of

if TYPE_CHECKING:
    from fewmask.training.trainer import Trainer


class Validation(Hook):
    """Scores val, and adds a line to validation.csv and lines to validation_classes.csv each time.

    A resumed run repeats the lines after its checkpoint.

    Every rank scores a part of the samples, and their confusion matrices add up.

    Args:
        so_far: the scores that the newest checkpoint knows; only rank 0 needs them.

    Raises:
        UserError: a file cannot be written, now or later.
    """

    def __init__(self, run: RunFolder, folder: Folder, recipe: Recipe, so_far: Sequence[ValScore]) -> None:
        self._run, self._folder, self._recipe = run, folder, recipe
        self._scores = list(so_far)
        try:
            self._of_classes = class_scores_so_far(run, {score.step for score in so_far})
        except OSError as error:
            raise cannot_write(run, "the scores on val", error) from None

    def on_step(self, trainer: "Trainer", step: Step) -> None:
        between = steps_between_val_scores(self._recipe)
        is_last_stage = trainer.position.stage == len(trainer.stages) - 1
        is_due = between > 0 and (trainer.done % between == 0 or trainer.done == trainer.training.steps)
        if is_due and is_last_stage:
            with trainer.pause():
                found = self._score(trainer)
                if trainer.fabric.is_global_zero:
                    self.keep(trainer, *found)
                trainer.fabric.barrier()
            trainer.wants_checkpoint = True

    def _score(self, trainer: "Trainer") -> tuple[ValScore, list[ClassScore]]:
        """The mIoU of every network on val, and the scores of its classes; equal on all ranks."""
        fabric, classes, resize = trainer.fabric, self._folder.classes, self._recipe.data.resize
        samples = labeled_samples({"val": self._folder.val}, "val", self._folder.root)
        nets = {name: Deployed(net, resize, classes) for name, net in trainer.method.networks().items()}
        for net in trainer.method.networks().values():
            take_from_first_rank(net.buffers())  # BatchNorm follows the images of each rank between two steps
        own = confusions(nets, samples[fabric.global_rank :: fabric.world_size], classes)
        trainer.method.train()
        miou: dict[str, float] = {}
        of_classes: list[ClassScore] = []
        for name, confusion in own.items():
            total = fabric.all_reduce(confusion.to(fabric.device), reduce_op="sum").cpu()
            miou[name] = scores_of(total, classes.names).miou or 0.0
            of_classes += _class_scores(trainer.done, name, total, classes.names)
        return ValScore(trainer.done, miou), of_classes

    def keep(self, trainer: "Trainer", found: ValScore, of_classes: Sequence[ClassScore] = ()) -> None:
        """Writes the scores; with `select: best_val`, also keeps the networks if this step is the best so far."""
        self._forget_all_but_the_best()  # the scores so far are those that the newest checkpoint knows
        self._scores.append(found)
        self._of_classes += of_classes
        try:
            if selects(self._recipe) and self._best() is found:
                self._run.checkpoints.mkdir(exist_ok=True)
                for name, net in trainer.method.networks().items():
                    write_bytes(self._run.best_file(name, found.step), state_bytes(net))
            write_class_scores(self._run, self._of_classes)
            write_val_scores(self._run, self._scores)
        except OSError as error:
            raise cannot_write(self._run, "the scores on val", error) from None

    def _forget_all_but_the_best(self) -> None:
        kept = set()
        if self._scores:
            best = self._best()
            kept = {self._run.best_file(name, best.step) for name in best.miou}
        for file in set(self._run.checkpoints.glob("best_*")) - kept:
            file.unlink(missing_ok=True)

    def _best(self) -> ValScore:
        return best_val_score(self._scores, self._recipe.networks[0])


def _class_scores(step: int, network: str, confusion: Confusion, names: Sequence[str]) -> Iterator[ClassScore]:
    iou = scores_of(confusion, names).per_class
    right = confusion.diagonal() / confusion.sum(dim=0)  # NaN for a class that is never predicted
    for name, precision in zip(names, right.tolist(), strict=True):
        found = iou[name]
        yield ClassScore(step, network, name, float("nan") if found is None else found, precision)
