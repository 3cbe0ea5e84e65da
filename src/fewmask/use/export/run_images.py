"""The images of a run, by which an exported file is checked and calibrated."""

from collections.abc import Sequence
from pathlib import Path

from fewmask.data.sample import Sample
from fewmask.errors import UserError
from fewmask.recipe.folders import target_folder
from fewmask.run.folder import check_data_is_there
from fewmask.use.found import find_images
from fewmask.use.model import Model


def unlabeled_images(model: Model, given: str | None, count: int) -> list[Path]:
    """At most `count` images, spread evenly over those that the run learned from, or over those that are given.

    Raises:
        UserError: the data of the run is gone, and no other images are given.
    """
    if given is not None:
        return _spread([image.file for image in find_images(given, [])], count)
    try:
        check_data_is_there(model.run, model.recipe)
    except UserError as mistake:
        raise UserError(mistake.what, mistake.where, "Give other images to check with: --images FOLDER.") from None
    folder = target_folder(model.recipe.data)
    labeled = set(model.run.labeled_names())
    samples = [*folder.train, *folder.unlabeled]
    return _spread([sample.image for sample in samples if sample.name not in labeled] or _files(samples), count)


def val_samples(model: Model) -> list[Sample]:
    """The images of val that have masks; raises UserError if there are none."""
    check_data_is_there(model.run, model.recipe)
    samples = [sample for sample in target_folder(model.recipe.data).val if sample.mask is not None]
    if not samples:
        raise UserError(
            "there are no masks in val to score by", model.recipe.data.root, "Leave out --int8, or add them."
        )
    return samples


def _files(samples: Sequence[Sample]) -> list[Path]:
    return [sample.image for sample in samples]


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    step = max(1, len(files) // count)
    return list(files[::step][:count])
