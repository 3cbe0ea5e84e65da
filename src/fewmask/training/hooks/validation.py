"""Scores on val while a run trains, and its best networks so far, kept where the recipe asks for them."""

from fewmask.data.folder import Folder
from fewmask.methods import Method
from fewmask.recipe import Recipe
from fewmask.run.atomic import write_bytes
from fewmask.run.checkpoint import cannot_write, state_bytes
from fewmask.run.folder import RunFolder
from fewmask.run.validation import ValScore, best_val_score, read_val_scores, selects, write_val_scores
from fewmask.use.deployed import Deployed
from fewmask.use.evaluate import labeled_samples, score


class Validation:
    """Scores val, each time a line of validation.csv; a resumed run repeats those after its checkpoint.

    Args:
        first: steps already done.

    Raises:
        UserError: a file cannot be written, here or later.
    """

    def __init__(self, run: RunFolder, method: Method, folder: Folder, recipe: Recipe, first: int) -> None:
        self._run, self._method, self._folder, self._recipe = run, method, folder, recipe
        self._scores = [known for known in read_val_scores(run) if known.step <= first]

    def score(self, step: int) -> None:
        """Scores every network after `step` steps; with `select: best_val` keeps them where they are the best."""
        nets = {"student": self._method.student}
        if self._method.teacher is not None:
            nets["teacher"] = self._method.teacher
        classes, resize = self._folder.classes, self._recipe.data.resize
        samples = labeled_samples({"val": self._folder.val}, "val", self._folder.root)
        scores = score({name: Deployed(net, resize, classes) for name, net in nets.items()}, samples, classes)
        self._method.train()
        self._forget_all_but_the_best()  # of the steps that the newest checkpoint knows
        self._scores.append(ValScore(step, {name: found.miou or 0.0 for name, found in scores.items()}))
        try:
            if selects(self._recipe) and self._best() is self._scores[-1]:
                self._run.checkpoints.mkdir(exist_ok=True)
                for name, net in nets.items():
                    write_bytes(self._run.best_file(name, step), state_bytes(net))
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
