"""The sizes that a step may have: smaller and smaller batches of the same number of images, then smaller crops."""

import math
from typing import NamedTuple

from fewmask.recipe import Recipe

_SHRINK = 0.75
_GRID = 16  # pixels; the sides of smaller crops are multiples of it
_SMALLEST = 64  # pixels; below that, no network learns from a crop


class Size(NamedTuple):
    """The size of one backward pass, and how many of them a step has."""

    labeled: int
    unlabeled: int
    accumulate: int
    crop: tuple[int, int]
    """(height, width)"""

    @property
    def pixels(self) -> int:
        """The pixels of the images of a backward pass, to which its memory is about proportional."""
        return (self.labeled + self.unlabeled) * self.crop[0] * self.crop[1]


def sizes_of(recipe: Recipe, crop: tuple[int, int], fewest: int = 1) -> list[Size]:
    """The sizes in falling order; the first is the one that the recipe states.

    A step learns from no fewer images than the recipe states, and the rest of a division is rounded up. Where the batch
    is as small as the method allows, crops shrink.

    Args:
        recipe: the recipe.
        crop: its crops, (height, width).
        fewest: the smallest number of images that the network can learn from at once.
    """
    training, needs = recipe.training, recipe.needs
    labeled, unlabeled = training.labeled_batch, training.unlabeled_batch or training.labeled_batch
    mixes = recipe.source is not None and needs.source not in ("never", "alone")
    fewest_labeled = max(fewest, 2 if mixes else 1)
    fewest_unlabeled = max(fewest, needs.min_unlabeled_batch) if needs.unlabeled else 0
    sizes = [Size(labeled, unlabeled if needs.unlabeled else 0, training.accumulate, crop)]
    for parts in range(2, labeled + unlabeled):
        size = Size(
            math.ceil(labeled / parts), math.ceil(sizes[0].unlabeled / parts), parts * training.accumulate, crop
        )
        is_smaller = size[:2] != sizes[-1][:2]
        if is_smaller and size.labeled >= fewest_labeled and size.unlabeled >= fewest_unlabeled:
            sizes.append(size)
    while (smaller := _shrunk(sizes[-1].crop)) != sizes[-1].crop:
        sizes.append(sizes[-1]._replace(crop=smaller))
    return sizes


def with_size(recipe: Recipe, size: Size, crop: tuple[int, int]) -> Recipe:
    """The recipe as a person would write it by hand for this size.

    Args:
        recipe: the recipe before.
        size: the size that was chosen.
        crop: the crops of the recipe before, which are written only if they became smaller.
    """
    training = {"labeled_batch": size.labeled, "accumulate": size.accumulate, "memory": "as_set"}
    if size.unlabeled and recipe.training.unlabeled_batch is not None:
        training["unlabeled_batch"] = size.unlabeled
    data = {} if size.crop == crop else {"crop": size.crop}
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=data),
            "training": recipe.training.model_copy(update=training),
        }
    )


def _shrunk(crop: tuple[int, int]) -> tuple[int, int]:
    height, width = (min(side, max(_SMALLEST, math.floor(side * _SHRINK / _GRID) * _GRID)) for side in crop)
    return height, width
