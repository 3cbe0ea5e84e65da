"""Turns a recipe into what a training needs: labeled and unlabeled images in stores, crop, and the method's tools."""

import os
from pathlib import Path
from typing import NamedTuple

from fewmask.data.balance import Balance
from fewmask.data.classes import Classes
from fewmask.data.folder import Folder, Sample
from fewmask.data.lists import list_summary
from fewmask.data.partition import Partition, draw_partition, hold_out, is_list, presence_of
from fewmask.data.store import FileStore, MemoryStore, Resize, Store, fits_in_memory
from fewmask.errors import UserError
from fewmask.methods import Tools
from fewmask.recipe import DataConfig, Recipe
from fewmask.recipe.folders import source_folder, target_folder
from fewmask.run.validation import steps_between_val_scores
from fewmask.training.check_data import check_labeled, check_scored, check_unlabeled
from fewmask.training.device import num_local_processes
from fewmask.training.readers import num_workers

_MOST_PADDING = 8  # times an image; a larger crop is a slip of the finger
_MOST_WORKERS = 8


class TrainingData(NamedTuple):
    """The data of a run."""

    folder: Folder
    partition: Partition
    labeled: Store
    unlabeled: Store | None
    source: Store | None
    source_names: list[str] | None
    crop: tuple[int, int]
    workers: int
    missing: tuple[str, ...]
    """The classes that no mask to learn from holds; empty if there are too many masks to read before the run."""
    remarks: tuple[str, ...]
    """What is worth a word before the run, a line each."""
    balance: Balance | None = None
    """The draw of labeled images by class, if the recipe asks for it."""
    held_out: Store | None = None
    """Labeled images that are not learned from, if the method asks for them."""

    @property
    def classes(self) -> Classes:
        """The classes of the dataset folder."""
        return self.folder.classes

    def tools(self, recipe: Recipe) -> Tools:
        """What a method is built from: network, numbers of classes, images and batches, and optimizer."""
        num_unlabeled = 0 if self.unlabeled is None else len(self.unlabeled)
        return Tools(
            recipe.net,
            len(self.classes),
            len(self.labeled),
            num_unlabeled,
            recipe.training.optimizer,
            self.classes.background,
            recipe.training.accumulate,
        )


def prepare_data(recipe: Recipe) -> TrainingData:
    """Reads names, draws the labeled images, measures sizes, and examines the labeled images and their masks."""
    data, needs = recipe.data, recipe.needs
    _check_unlabeled_batch(recipe)
    folder = target_folder(data)
    if steps_between_val_scores(recipe) and not any(sample.mask for sample in folder.val):
        fix = "Keep some images with masks there, or leave out training.score_every and training.select."
        raise UserError("there are no masks to score on", folder.root / "val" / "masks", fix)
    if steps_between_val_scores(recipe):
        check_scored(folder.val, folder.classes)
    source, source_resize = _source(recipe, folder)
    learned, resize, labels = folder, data.resize, data.labels
    if needs.source == "alone" and source is not None:  # the source stands in for the target, of which
        learned, resize, labels, source = source, source_resize, None, None  # nothing is seen before the scores
    partition = draw_partition(learned, labels, data.split_seed)
    if needs.unlabeled and not partition.unlabeled:
        raise UserError(
            f"the method {recipe.method.name} learns from unlabeled images too, and every train image has a mask",
            data.root,
            f"Add some to {data.root / 'unlabeled'}, hide masks with --labels 1/4, or {needs.without_unlabeled}.",
        )
    bare = [Sample(path.stem, path, None) for path in partition.unlabeled] if needs.unlabeled else []
    learned_from: tuple[Sample, ...] = partition.labeled
    kept: tuple[Sample, ...] = ()
    if needs.held_out:
        learned_from, kept = hold_out(partition.labeled, learned.classes, data.split_seed)
    labeled: Store = FileStore(learned_from, learned.classes, resize)
    held_out: Store | None = FileStore(kept, learned.classes, resize) if kept else None
    unlabeled: Store | None = FileStore(bare, folder.classes, data.resize) if bare else None
    of_source: Store | None = None if source is None else FileStore(source.train, source.classes, source_resize)
    sizes = [*labeled.sizes(), *(unlabeled.sizes() if unlabeled else ())]
    cached = data.cache
    if cached is None:
        all_sizes = [*sizes, *(of_source.sizes() if of_source else ())]
        cached = fits_in_memory(all_sizes, num_local_processes(recipe.training))
    if cached:
        labeled = MemoryStore(labeled)
        unlabeled = unlabeled and MemoryStore(unlabeled)
        held_out = held_out and MemoryStore(held_out)
        of_source = of_source and MemoryStore(of_source)
    crop, num_ranks = _crop(data, sizes), num_local_processes(recipe.training)
    cores = (os.cpu_count() or 1) // num_ranks
    useful = 0 if cached else min(max(cores, 1), _MOST_WORKERS)
    workers = num_workers(data.workers, useful, recipe.training, crop, num_ranks)
    missing, remarks = check_labeled(learned, partition.labeled)
    if source is not None:
        missing = ()  # the masks of the source may hold these classes
        remarks += check_labeled(source, source.train).remarks
    if is_list(labels):
        remarks = (list_summary(Path(str(labels)), learned.train), *remarks)
    if needs.unlabeled:
        remarks += check_unlabeled(partition.unlabeled)
    return TrainingData(
        folder,
        partition,
        labeled,
        unlabeled,
        of_source,
        None if source is None else [sample.name for sample in source.train],
        crop,
        workers,
        missing,
        remarks,
        Balance(data.balance, presence_of(learned_from, learned.classes)) if data.balance else None,
        held_out,
    )


def _check_unlabeled_batch(recipe: Recipe) -> None:
    training, fewest = recipe.training, recipe.needs.min_unlabeled_batch
    count = training.unlabeled_batch or training.labeled_batch
    if recipe.needs.unlabeled and count < fewest:
        what = f"the method {recipe.method.name} needs {fewest} unlabeled images in a batch, and it has {count}"
        raise UserError(what, "training.unlabeled_batch", f"Make it {fewest} or more.")


def _source(recipe: Recipe, target: Folder) -> tuple[Folder | None, Resize]:
    """The source domain that the method learns from and its resize; None without a source domain."""
    use = recipe.needs.source
    if recipe.source is None:
        if use in ("required", "alone"):
            what = f"the method {recipe.method.name} learns from a source domain, and the recipe names none"
            raise UserError(what, "source", "Add it: --set source=FOLDER.")
        return None, None
    if use == "never":
        return None, None
    if recipe.training.labeled_batch < 2 and use != "alone":
        what = "with a source domain a labeled batch holds images of both, and this one is of one image"
        raise UserError(what, "training.labeled_batch", "Make it 2 or more.")
    resize = recipe.data.resize if recipe.source.resize is None else recipe.source.resize
    return source_folder(recipe.source, target), resize


def _crop(data: DataConfig, sizes: list[tuple[int, int]]) -> tuple[int, int]:
    heights, widths = zip(*sizes, strict=True)
    largest = max(heights), max(widths)
    if data.crop is None:
        return min(largest[0], data.largest_crop), min(largest[1], data.largest_crop)
    height, width = (data.crop, data.crop) if isinstance(data.crop, int) else data.crop
    if height > _MOST_PADDING * largest[0] or width > _MOST_PADDING * largest[1]:
        most = f"{largest[1]} x {largest[0]} (width x height)"
        what = f"crops are to be {width} x {height}, but no image is larger than {most}"
        raise UserError(what, "data.crop", "Make it smaller: nothing is learned from what lies beyond an image.")
    return height, width
