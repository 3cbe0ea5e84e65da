"""The plan of a comparison: what is compared with what, and the recipe of every run."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from rich.console import Console

from fewmask.data.inventory import inventory
from fewmask.data.partition import FORMS
from fewmask.errors import UserError, choices
from fewmask.methods import DEFAULT, METHODS, Method
from fewmask.recipe import Recipe, recipe_for
from fewmask.recipe.blocks import method_named
from fewmask.recipe.folders import source_folder, target_folder
from fewmask.study.compare.arms import Arm, check_known, recipe_of
from fewmask.study.compare.label_sets import ALL, LabelSet, data_settings, label_set
from fewmask.study.key import Run, run_of
from fewmask.training.check_data import check_scored
from fewmask.training.device import num_processes
from fewmask.training.preset import recipe_to_train

Budget = Literal["steps", "forwards", "minutes"]
"""What every run has as much of as the baseline of `training.steps` steps: steps, passes with gradient of an image
through the network, or time."""

ARMS: tuple[Arm, ...] = get_args(Arm)
BUDGETS: tuple[Budget, ...] = get_args(Budget)
_EVERY = "all"
_SET_BY_US = {
    "method.name": "--methods",
    "data.labels": "--labels",
    "data.split_seed": "--first-seed",
    "training.seed": "--first-seed",
}


class Study(NamedTuple):
    """What a comparison is asked for, after everything that can be wrong with it was checked.

    Attributes:
        name: the name of the study in its rows.
        data: the name of the data set in its rows.
        baseline: the recipe of the baseline; all runs share its data, network and training.
        changes: settings of methods by their path, which the methods that know them take.
        methods: the compared methods, without the baseline.
        labels: the sets of masks.
        seeds: the seeds of the draws, of weights, batches and augmentation.
        arms: where methods have their settings from.
        budget: what all runs have as much of as the baseline.
        scored: the splits with masks that all runs are scored on; the comparison is about the first.
        images: the files of the data set, and of the source if there is one, in the words of `inventory`.
    """

    name: str
    data: str
    baseline: Recipe
    changes: Mapping[str, Any]
    methods: tuple[type[Method], ...]
    labels: tuple[LabelSet, ...]
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    budget: Budget
    scored: tuple[str, ...]
    images: Mapping[str, Mapping[str, str]]

    @property
    def settings(self) -> dict[str, Any]:
        """What all runs of a study folder share, as plain values."""
        return {
            "recipe": self.baseline.model_dump(mode="json"),
            "methods": dict(self.changes),
            "budget": self.budget,
            "images": {domain: dict(held) for domain, held in self.images.items()},
        }


class Row(NamedTuple):
    """A line of the comparison: a method in an arm, with a name of its own. The recipe has no seed and no masks yet.

    A method whose settings do not fit has the error in the place of a recipe.
    """

    name: str
    recipe: Recipe | UserError


class Cell(NamedTuple):
    """One run of the grid, before its number of steps is known."""

    row: Row
    labels: str
    seed: int
    name: str
    """A name for its folders."""

    def recipe(self, steps: int) -> Recipe:
        """The recipe of the run.

        Raises:
            UserError: the settings of its method do not fit.
        """
        if isinstance(self.row.recipe, UserError):
            raise self.row.recipe
        recipe = self.row.recipe
        data = recipe.data.model_copy(update=data_settings(self.labels, self.seed))
        training = recipe.training.model_copy(update={"seed": self.seed, "steps": steps})
        return recipe.model_copy(update={"data": data, "training": training})

    def key(self, study: Study, steps: int) -> Run:
        """What the run depends on, as the table of results has it."""
        return run_of(self.recipe(steps), study.name, study.data)


def plan_study(
    source: Path,
    methods: Sequence[str],
    labels: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    *,
    arms: Sequence[Arm] = ARMS[:1],
    budget: Budget = BUDGETS[0],
    name: str = "compare",
    data: str = "",
    preset: str | None = "",
    console: Console | None = None,
) -> Study:
    """Checks what is asked for, before anything is trained.

    Args:
        source: a dataset folder, or a recipe file of which data, network and training are used.
        methods: names of methods, or `all` for every method that is compared with the same baseline.
        labels: sets of masks, as `LabelSet.text` has them.
        seeds: the seeds.
        settings: changes of the recipe by their path; those of methods go to the methods that know them.
        arms: where methods have their settings from.
        budget: what all runs have as much of as the baseline.
        name: the name of the study in its rows.
        data: the name of the data set in its rows; empty: that of its folder.
        preset: a preset for what nothing else states; empty: none; None: the one that `recipe_to_train` takes.
        console: where to say which preset was taken.

    Raises:
        UserError: a method, a set of masks or a setting that does not exist, or no masks to score on.
    """
    _check_settings(settings)
    if not labels:
        raise UserError("no set of masks is named", "--labels", f"{FORMS} Put commas between several.")
    compared, baseline = _methods(methods)
    changes = {path: value for path, value in settings.items() if path.startswith("method.")}
    check_known([baseline, *compared], changes)
    common = {path: value for path, value in settings.items() if path not in changes}
    fixed = {"training.feature_picture": False} | common | {"method": baseline.name}
    recipe = recipe_for(source, fixed) if preset == "" else recipe_to_train(source, fixed, preset, console)
    if recipe.training.select != "last":
        fix = "Leave training.select out: a method that is scored more often would gain by it."
        raise UserError("a comparison takes the last step of every run", "training.select", fix)
    if recipe.training.memory == "auto":
        fix = "Let fewmask train find batches and crops once, and give them to the comparison with --set."
        raise UserError("the sizes that fit may differ from run to run", "training.memory", fix)
    if num_processes(recipe.training) > 1:
        fix = "Run several side by side instead: --jobs 2 --devices 0,1, and without torchrun or srun."
        raise UserError("a run of a comparison is one process on one device", "training.devices", fix)
    needy = [method.name for method in compared if _source_use(method) in ("required", "alone")]
    if needy and recipe.source is None:
        what = f"{needy[0]} learns from a source domain, and the comparison has none"
        raise UserError(what, "--methods", "Add it: --set source=FOLDER.")
    recipe = recipe_of(baseline, "harness", recipe, changes)
    folder = target_folder(recipe.data)
    splits = {"test": folder.test, "val": folder.val}
    scored = tuple(name for name, samples in splits.items() if any(sample.mask for sample in samples))
    if not scored:
        fix = "Put images there with masks that no run learns from, in val/ or test/."
        raise UserError("there are no masks to compare on", folder.root / "val" / "masks", fix)
    for split in scored:
        check_scored(splits[split], folder.classes)
    sets = tuple(label_set(text, folder, tuple(seeds)) for text in dict.fromkeys(labels))
    names = [chosen.name for chosen in sets]
    if len(set(names)) < len(names):
        raise UserError(f"two sets of masks are called {max(names, key=names.count)}", "--labels", "Rename one.")
    numbers = [str(chosen.num_masks) if Path(chosen.text).exists() else chosen.text for chosen in sets]
    if len(set(numbers)) < len(numbers):
        what = f"two sets are called {max(numbers, key=numbers.count)} in the rows, where lists go by their length"
        raise UserError(what, "--labels", "Compare them in two folders.")
    name_of_data = data or recipe.data.root.resolve().name
    images = {"target": inventory(folder)}
    if recipe.source is not None:
        images["source"] = inventory(source_folder(recipe.source, folder))
    return Study(name, name_of_data, recipe, changes, compared, sets, tuple(seeds), tuple(arms), budget, scored, images)


def rows_of(study: Study) -> list[Row]:
    """The baseline, and every method in every arm. A method that is the same in both arms stands once, by its name."""
    rows = [Row(study.baseline.method.name, study.baseline)]
    for arm in study.arms:
        for method in study.methods:
            shared, recipe = (_recipe_or_error(study, method, each) for each in (ARMS[0], arm))
            row = Row(method.name if arm == ARMS[0] or recipe == shared else f"{method.name} {arm}", recipe)
            if row.name not in {other.name for other in rows}:
                rows.append(row)
    return rows


def _recipe_or_error(study: Study, method: type[Method], arm: Arm) -> Recipe | UserError:
    try:
        return recipe_of(method, arm, study.baseline, study.changes)
    except UserError as error:
        return error


def cells_of(study: Study, rows: Sequence[Row]) -> Iterator[Cell]:
    """Every run: each row with each set of masks and seed, and the baseline with all masks."""
    everything = LabelSet(ALL, 0, 0)
    for row in rows:
        reference = [everything] if row is rows[0] and ALL not in {chosen.text for chosen in study.labels} else []
        for chosen in (*study.labels, *reference):
            for seed in study.seeds:
                yield Cell(row, chosen.text, seed, f"{row.name}-{chosen.name}-{seed}".replace(" ", "-"))


def _methods(names: Sequence[str]) -> tuple[tuple[type[Method], ...], type[Method]]:
    """The compared methods and their one baseline."""
    if not names:
        known = choices("", (method.name for method in METHODS))
        raise UserError("no method is named", "--methods", f"Choose some of {known}, or all.")
    chosen = [method_named(name) for name in dict.fromkeys(names) if name != _EVERY]
    baselines = dict.fromkeys(method.baseline or method.name for method in chosen)
    if _EVERY in names:
        baselines = {str(method_named(DEFAULT).baseline): None} | baselines
        chosen = [method for method in METHODS if method.baseline in baselines and _source_use(method) == "optional"]
    (baseline,) = baselines
    return tuple(method for method in chosen if method.name != baseline), method_named(baseline)


def _source_use(method: type[Method]) -> str:
    return method.needs(method.Config.model_construct(name=method.name)).source


def _check_settings(settings: Mapping[str, Any]) -> None:
    for path in settings:
        if path in _SET_BY_US:
            raise UserError(f"{path} is a part of the comparison", "--set", f"Use {_SET_BY_US[path]}.")
