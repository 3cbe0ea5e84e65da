"""A set of masks to compare with: a share, a number or lists, of which every seed makes a draw."""

from pathlib import Path
from typing import Any, NamedTuple

from fewmask.data.folder import Folder
from fewmask.data.partition import draw_partition
from fewmask.errors import UserError

ALL = "all"
_LISTS = "seed{}.txt"


class LabelSet(NamedTuple):
    """Some of the masks.

    Attributes:
        text: a share such as `1/30`, a number, `all`, a file of names, or a folder with a list for each seed:
            `seed0.txt`, `seed1.txt` and so on.
        num_masks: how many masks it has in its first draw.
        num_unlabeled: how many images stay without a mask in its first draw.
    """

    text: str
    num_masks: int
    num_unlabeled: int

    @property
    def name(self) -> str:
        """A name for files."""
        path = Path(self.text)
        return (path.name if path.is_dir() else path.stem if path.is_file() else self.text).replace("/", "_")


def label_set(text: str, folder: Folder, seeds: tuple[int, ...]) -> LabelSet:
    """The set that a text names.

    Raises:
        UserError: the text has no known form, there are fewer masks than it asks for, or it lacks a list for a seed.
    """
    drawn = [
        draw_partition(folder, **data_settings(text, seed)) for seed in (seeds if Path(text).is_dir() else seeds[:1])
    ]
    numbers = {len(draw.labeled) for draw in drawn}
    if len(numbers) > 1:
        what = f"the lists of one set have {min(numbers)} to {max(numbers)} masks"
        raise UserError(what, Path(text), "Give all lists of a folder as many names, because their mean is reported.")
    return LabelSet(text, len(drawn[0].labeled), len(drawn[0].unlabeled))


def data_settings(text: str, seed: int) -> dict[str, Any]:
    """The settings of `data` that choose the draw of a seed."""
    folder = Path(text)
    if text == ALL or not folder.is_dir():
        return {"labels": text, "split_seed": seed}
    listed = folder / _LISTS.format(seed)
    if not listed.is_file():
        there = ", ".join(sorted(path.name for path in folder.glob(_LISTS.format("*")))) or "none"
        raise UserError(f"there is no list for seed {seed}", listed, f"Add it, or compare fewer seeds. Here: {there}.")
    return {"labels": str(listed), "split_seed": seed}
