"""Scores over a whole split: one confusion matrix for each network, at the full size of the labels."""

from collections.abc import Callable, Mapping, Sequence
from itertools import tee
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torchmetrics.functional.classification import multiclass_confusion_matrix

from fewmask.data.classes import Classes
from fewmask.data.folder import Folder, Sample, read_folder
from fewmask.data.store import FileStore
from fewmask.errors import UserError, choices, in_command
from fewmask.recipe import Recipe
from fewmask.recipe.folders import target_folder
from fewmask.run.folder import RunFolder, check_data_is_there
from fewmask.run.scores import write_scores
from fewmask.run.tallies import Tally, write_tallies
from fewmask.run.validation import selected_val_score
from fewmask.say import say
from fewmask.shapes import IGNORE, Confusion
from fewmask.use.deployed import Deployed, predicted_labels
from fewmask.use.scores import Scores, scores_of
from fewmask.use.tally import tally

Tick = Callable[[int], None]
"""A function that is called after every image with the number of all images."""


SCORE_KEYS = ("miou", "per_class", "pixel_accuracy", "split", "images", "predictor", "selected", "networks")
"""What `evaluate` returns beside the scores of each network under its name."""


def no_tick(total: int) -> None:
    """The `Tick` for a call that nobody watches."""


def evaluate(
    run: RunFolder,
    recipe: Recipe,
    networks: Mapping[str, Deployed],
    shipped: str,
    split: str,
    tick: Tick = no_tick,
    data: Path | None = None,
    also: Sequence[RunFolder] = (),
) -> dict[str, Any]:
    """Scores of a run's networks on a split.

    Args:
        run: the run. Scores on its own data are kept in its folder, unless there are others; a line on stderr says so
            if they cannot be kept.
        recipe: the recipe of the run; it names the data.
        networks: the networks by name.
        shipped: the name of the network that predicts.
        split: `val`, `test`, `train`, or `unlabeled`: the images of train that have masks, and whose masks the run did
            not learn from.
        tick: called after every image.
        data: another dataset folder with the same classes; None: the run's own data.
        also: other runs that have a part in the prediction.

    Returns:
        The scores in the form of `Model.evaluate`.
    """
    if data is None:
        check_data_is_there(run, recipe)
    folder = target_folder(recipe.data) if data is None else read_folder(data)
    splits = {"train": folder.train, "val": folder.val, "test": folder.test}
    if data is None:
        learned = {name for part in (run, *also) for name in part.labeled_names()}
        splits["unlabeled"] = tuple(sample for sample in folder.train if sample.name not in learned)
    samples = labeled_samples(splits, split, folder.root)
    check_same_classes(networks[shipped].classes, folder)
    if split != "train":
        check_not_learned(samples, (run, *also))
    selected = None if also else selected_val_score(run, recipe)
    tallies = tally(networks, samples, folder.classes, tick)
    scores = {name: found.as_json() for name, found in _scores(tallies, folder.classes).items()}
    result = {
        **scores[shipped],
        "split": split,
        "images": len(samples),
        "predictor": shipped,
        "selected": selected,
        "networks": list(scores),
        **scores,
    }
    if data is None and not also:
        try:
            write_tallies(run, split, samples, tallies)
            write_scores(run, split, result)
        except OSError as error:
            what = f"the scores cannot be kept ({error.strerror})"
            fix = f"To keep them elsewhere: fewmask evaluate {in_command(run.path)} --split {split} --json > FILE"
            say(Console(stderr=True), str(UserError(what, run.scores_file(split), fix)))
    return result


def check_not_learned(samples: Sequence[Sample], runs: Sequence[RunFolder]) -> None:
    """Raises UserError if one of several runs has learned from samples; a run alone cannot, by its own split."""
    for run in runs if len(runs) > 1 else ():
        data, names = run.recipe().data, set(run.labeled_names())
        if not data.root.is_dir():  # its images are not the samples, which are there
            continue
        learned = {sample.image.resolve() for sample in target_folder(data).train if sample.name in names}
        found = [sample for sample in samples if sample.image.resolve() in learned]
        if found:
            what = f"the run has learned from {len(found)} of the {len(samples)} images to be scored"
            fix = "Score these runs on images that none of them has learned from, such as --split test."
            raise UserError(what, run.path, fix)


def labeled_samples(splits: Mapping[str, tuple[Sample, ...]], split: str, root: Path) -> list[Sample]:
    """The samples of a split that have masks.

    Raises:
        UserError: there is no such split, or it has no masks.
    """
    if split not in splits:
        raise UserError(f"there is no split {split!r}", "--split", f"Choose one of {choices(split, splits)}.")
    samples = [sample for sample in splits[split] if sample.mask is not None]
    if not samples:
        held = [name for name, found in splits.items() if any(sample.mask for sample in found)]
        raise UserError(
            f"there are no masks in {split}/masks",
            root,
            f"Add them, or score another split: {', '.join(held)}." if held else "Add them.",
        )
    return samples


def score(
    networks: Mapping[str, Deployed], samples: Sequence[Sample], classes: Classes, tick: Tick = no_tick
) -> dict[str, Scores]:
    """Scores of every network over all samples; the arguments are those of `tally`."""
    return _scores(tally(networks, samples, classes, tick), classes)


def _scores(tallies: Mapping[str, Tally], classes: Classes) -> dict[str, Scores]:
    return {name: scores_of(torch.from_numpy(found.confusion), classes.names) for name, found in tallies.items()}


def confusions(
    networks: Mapping[str, Deployed], samples: Sequence[Sample], classes: Classes, tick: Tick = no_tick
) -> dict[str, Confusion]:
    """The confusion matrix of every network over all samples, which have masks.

    Args:
        networks: the networks by name.
        samples: samples with masks; each is decoded once, one after the other.
        classes: how the masks of the samples are encoded; the names must be those of the networks' classes.
        tick: called after every sample.
    """
    full_size = FileStore(samples, classes)
    totals = {name: torch.zeros(len(classes), len(classes), dtype=torch.int64) for name in networks}
    pictures, again = tee(full_size.picture(place) for place in range(len(full_size)))
    predicted = predicted_labels(networks, (picture.image for picture in pictures))
    for answers, picture in zip(predicted, again, strict=True):
        assert picture.labels is not None
        truth = picture.labels.long()
        for name, labels in answers.items():
            matrix = multiclass_confusion_matrix(labels.cpu().long(), truth, len(classes), ignore_index=IGNORE)
            totals[name] += matrix
        tick(len(full_size))
    return totals


def check_same_classes(classes: Classes, folder: Folder) -> None:
    """Raises UserError if the classes of a run are not those of a folder."""
    own, other = classes.names, folder.classes.names
    if own == other:
        return
    pair = next((pair for pair in zip(own, other, strict=False) if pair[0] != pair[1]), None)
    what = f"the run has {len(own)} classes, the folder {len(other)}"
    if pair is not None:
        what = f"the run has a class {pair[0]} where the folder has {pair[1]}"
    raise UserError(what, folder.root, f"Both need these, in this order: {', '.join(own)}.")
