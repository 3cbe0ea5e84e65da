"""The runs of a report: the one that it is about, the one that it is compared with, and further ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fewmask.data.partition import is_list
from fewmask.errors import UserError
from fewmask.recipe import Recipe
from fewmask.recipe.folders import target_folder
from fewmask.run.folder import RunFolder, check_data_is_there
from fewmask.use.evaluate import check_same_classes, labeled_samples
from fewmask.use.model import Model, load

_SPLITS = ("val", "test")


@dataclass(frozen=True, eq=False)
class Entry:
    """A finished run of the report.

    Attributes:
        title: the name of its method, with the run's folder where two runs have the same method.
        model: its networks.
        own_baseline: the finished baseline in the folder of the run; None without one.
        is_baseline: whether it is the baseline of the first run.
    """

    title: str
    model: Model
    own_baseline: "Entry | None" = None
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
    def masks(self) -> str:
        """Which masks the run learned from, in short: the share, the number or the list of the recipe."""
        labels, seed = self.recipe.data.labels, self.recipe.data.split_seed
        if labels is None:
            return "all"
        return Path(str(labels)).name if is_list(labels) else f"{labels}, drawn by seed {seed}"

    def is_baseline_of(self, run: "Entry") -> bool:
        """Whether it has the method of the run's baseline, and the run's steps and images with masks."""
        return (
            self.recipe.method.name == run.recipe.method_type.baseline
            and self.recipe.training.steps == run.recipe.training.steps
            and self.run.labeled_names() == run.run.labeled_names()
        )

    @property
    def teacher(self) -> str:
        """The network whose predictions are nearest to pseudo-labels: the teacher, else the second or the only one."""
        others = [name for name in self.model.networks if name != self.model.shipped]
        return "teacher" if "teacher" in self.model.networks else others[0] if others else self.model.shipped


def read_entries(runs: Sequence[Path], device: str) -> list[Entry]:
    """The entries: the first run, then its baseline if it has a finished one, then the other runs.

    Raises:
        UserError: a folder holds no finished run, or two runs have different classes.
    """
    models = [load(run, device) for run in runs]
    first = models[0]
    own = [_own_baseline(model, device) for model in models]
    for model in (*models[1:], *filter(None, own)):
        if model.classes.names != first.classes.names:
            what = f"it has the classes {', '.join(model.classes.names)}, and {runs[0]} has others"
            raise UserError(what, model.run.path, "Put runs with the same classes, in the same order, into a report.")
    beside = [None if baseline is None else Entry("", baseline) for baseline in own]
    found = [Entry("", model, baseline) for model, baseline in zip(models, beside, strict=True)]
    return titled([found[0], *([found[0].own_baseline] if found[0].own_baseline else []), *found[1:]])


def titled(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with their titles, and with a mark at the second one if it is the baseline of the first."""
    names = [entry.recipe.method.name for entry in entries]
    return [
        replace(
            entry,
            title=f"{name} ({entry.run.path})" if names.count(name) > 1 else name,
            is_baseline=place == 1 and entry.is_baseline_of(entries[0]),
        )
        for place, (name, entry) in enumerate(zip(names, entries, strict=True))
    ]


def _own_baseline(model: Model, device: str) -> Model | None:
    """The finished baseline in the folder of a run."""
    baseline = model.run.baseline
    return load(baseline.path, device) if baseline.is_begun and baseline.is_finished else None


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
