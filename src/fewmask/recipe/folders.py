"""Reads the data sets of a recipe: the folder of the target domain, and that of a source domain."""

from dataclasses import replace
from pathlib import Path

from fewmask.data.folder import Folder, Sample, read_folder
from fewmask.data.lists import listed_names
from fewmask.errors import UserError
from fewmask.recipe.blocks import DataConfig, SourceConfig


def target_folder(data: DataConfig) -> Folder:
    """The samples of a data set. If the recipe has a list for a split, only the samples in the list remain.

    Images that are held out are in val alone.

    Raises:
        UserError: for the reasons of `read_folder` and `listed_names`, or an image that is held out has no mask.
    """
    folder = read_folder(data.root)
    listed = replace(
        folder,
        train=_in_list(folder.train, data.train_list, "train", folder.left_out),
        val=_in_list(folder.val, data.val_list, "val"),
        test=_in_list(folder.test, data.test_list, "test"),
    )
    return listed if data.held_out is None else _without(listed, data.held_out)


def _without(folder: Folder, held_out: Path) -> Folder:
    """The folder whose val is the train images that the list names."""
    val = _in_list(folder.train, held_out, "train")
    bare = [sample.name for sample in val if sample.mask is None]
    if bare:
        raise UserError(f"the train image {bare[0]} has no mask to be scored by", held_out, "Leave it out of the list.")
    names = {sample.name for sample in val}
    return replace(folder, train=tuple(sample for sample in folder.train if sample.name not in names), val=val)


def source_folder(source: SourceConfig, target: Folder) -> Folder:
    """The train images with masks of a source domain; its masks may be encoded in another way than the target's.

    Raises:
        UserError: no image has a mask, the classes differ from the target's, or an image belongs to the target too.
    """
    folder = read_folder(source.root)
    if folder.classes.names != target.classes.names:
        what = f"the source has the classes {', '.join(folder.classes.names)}; the target has others"
        raise UserError(what, source.root, f"Both need these, in this order: {', '.join(target.classes.names)}.")
    listed = _in_list(folder.train, source.train_list, "train", folder.left_out)
    labeled = tuple(sample for sample in listed if sample.mask is not None)
    if not labeled:
        raise UserError("no train image of the source has a mask", source.root, "A source domain is a labeled one.")
    _check_apart(labeled, target, source)
    return replace(folder, train=labeled)


def _check_apart(labeled: tuple[Sample, ...], target: Folder, source: SourceConfig) -> None:
    """Raises UserError if an image of the source, which comes with its mask, is also an image of the target."""
    of_target = {
        sample.image.resolve(): split
        for split in ("train", "val", "test", "unlabeled")
        for sample in getattr(target, split)
    }
    shared = [sample for sample in labeled if sample.image.resolve() in of_target]
    if shared:
        split = of_target[shared[0].image.resolve()]
        what = f"{len(shared)} images of the source are images of the target too, such as {shared[0].name} in {split}"
        fix = "Name those of the source with source.train_list, and those of the target with data.train_list."
        raise UserError(what, source.root, fix)


def _in_list(
    samples: tuple[Sample, ...], path: Path | None, split: str, left_out: tuple[Sample, ...] = ()
) -> tuple[Sample, ...]:
    """The samples that the list names; the list may also name samples in `left_out`."""
    if path is None:
        return samples
    names = set(listed_names(path, (*samples, *left_out), f"{split} image"))
    return tuple(sample for sample in samples if sample.name in names)
