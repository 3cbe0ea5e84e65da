"""Writes the checkpoints of a run: every so many steps, if a hook asks, before the run stops, and after every stage."""

from typing import TYPE_CHECKING

from fewmask.methods import Step
from fewmask.recipe import Recipe
from fewmask.run.atomic import write_bytes
from fewmask.run.checkpoint import cannot_write, save_checkpoint, state_bytes
from fewmask.run.folder import RunFolder
from fewmask.training.hooks.finite import check_finite
from fewmask.training.hooks.hook import Hook

if TYPE_CHECKING:
    from fewmask.training.trainer import Trainer


class Checkpoints(Hook):
    """Rank 0 writes for all ranks. After a stage that pre-trains, it writes the weights of the student too.

    Raises:
        UserError: a weight is no longer finite, or the checkpoint cannot be written.
    """

    def __init__(self, run: RunFolder, recipe: Recipe) -> None:
        self._run, self._recipe = run, recipe

    def on_step(self, trainer: "Trainer", step: Step) -> None:
        is_due = trainer.position.step % trainer.training.checkpoint_every == 0 and not trainer.ends_stage
        saves = is_due or trainer.stopping or trainer.wants_checkpoint
        if saves or trainer.ends_stage:
            check_finite(trainer.checked(step.losses), trainer.method, trainer.done, self._run)
        if saves:
            self._save(trainer)

    def on_stage_end(self, trainer: "Trainer") -> None:
        if trainer.stages[trainer.position.stage - 1].pretrains and trainer.fabric.is_global_zero:
            try:
                write_bytes(self._run.model_file("pretrained"), state_bytes(trainer.method.student))
            except OSError as error:
                raise cannot_write(self._run, "the pre-trained network", error) from None
        self._save(trainer)

    def _save(self, trainer: "Trainer") -> None:
        if trainer.fabric.is_global_zero:
            scaler = None if trainer.scaler is None else trainer.scaler.state_dict()
            save_checkpoint(self._run, trainer.method, trainer.optimizers, trainer.position, self._recipe, scaler)
        trainer.fabric.barrier()
