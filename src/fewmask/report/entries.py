"""The runs of a report: the one that it is about, the one that it is compared with, and further ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fewmask.errors import UserError
from fewmask.recipe import Recipe
from fewmask.recipe.folders import target_folder
from fewmask.run.folder import RunFolder, check_data_is_there
from fewmask.use.evaluate import check_same_classes, labeled_samples
from fewmask.use.model import Model, load

_SPLITS = ("val", "test")


class Entry(NamedTuple):
    """A finished run of the report.

    Attributes:
        title: the name of its method, with the run's folder where two runs have the same method.
        model: its networks.
        is_baseline: whether it is the baseline of the first run: the same images and steps, and the baseline's method.
    """

    title: str
    model: Model
    is_baseline: bool = False

    @property
    def run(self) -> RunFolder:
        """The run folder."""
        return self.model.run

    @property
    def recipe(self) -> Recipe:
        """The settings of the run."""
        return self.model.recipe

    @property
    def teacher(self) -> str:
        """The network whose predictions are nearest to pseudo-labels: the second one, else the only one."""
        others = [name for name in self.model.networks if name != self.model.shipped]
        return others[0] if others else self.model.shipped


def read_entries(runs: Sequence[Path], device: str) -> list[Entry]:
    """The entries: the first run, then its baseline if it has a finished one, then the other runs.

    Raises:
        UserError: a folder holds no finished run, or two runs have different classes.
    """
    first = load(runs[0], device)
    models = [first]
    if first.run.baseline.is_begun and first.run.baseline.is_finished:
        models.append(load(first.run.baseline.path, device))
    models += [load(run, device) for run in runs[1:]]
    for model in models[1:]:
        if model.classes.names != first.classes.names:
            what = f"it has the classes {', '.join(model.classes.names)}, and {runs[0]} has others"
            raise UserError(what, model.run.path, "Put runs with the same classes, in the same order, into a report.")
    names = [model.recipe.method.name for model in models]
    titles = [
        f"{name} ({model.run.path})" if names.count(name) > 1 else name
        for name, model in zip(names, models, strict=True)
    ]
    return [
        Entry(title, model, _is_baseline(model, first) and place == 1)
        for place, (title, model) in enumerate(zip(titles, models, strict=True))
    ]


def _is_baseline(model: Model, of: Model) -> bool:
    return (
        model.recipe.method.name == of.recipe.method_type.baseline
        and model.recipe.training.steps == of.recipe.training.steps
        and model.run.labeled_names() == of.run.labeled_names()
    )


def split_to_score(entry: Entry, wanted: str | None) -> str:
    """The split to score: the wanted one, else val if it has masks, else test.

    Raises:
        UserError: there is no such split, it has no masks, or the classes of the data have changed.
    """
    check_data_is_there(entry.run, entry.recipe)
    folder = target_folder(entry.recipe.data)
    check_same_classes(entry.model.classes, folder)
    splits = {"train": folder.train, "val": folder.val, "test": folder.test}
    with_masks = [name for name in _SPLITS if any(sample.mask for sample in splits[name])]
    if wanted is None and not with_masks:
        fix = "Add some there: a report needs masks that nothing was trained on."
        raise UserError("there are no masks to score on in val and test", folder.root, fix)
    split = wanted or with_masks[0]
    labeled_samples(splits, split, folder.root)
    return split
