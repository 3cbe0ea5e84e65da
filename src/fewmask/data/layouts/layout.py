"""A public dataset as it is published: how it is recognized, what it must hold, and how it is read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fewmask.data.sample import UNKNOWN_CLASSES, Folder
from fewmask.errors import UserError


class Layout(NamedTuple):
    """One dataset in one layout.

    Attributes:
        name: the name that people use for the dataset.
        signs: patterns of paths; a folder that holds any of them is meant to be this dataset.
        parts: patterns of the paths that the dataset must hold.
        read: returns the samples and classes from the names of files. It adds every mistake to the list, and raises a
            UserError if the mistakes leave nothing to read.
        guide: where to get the dataset and how to lay it out.
    """

    name: str
    signs: tuple[str, ...]
    parts: tuple[str, ...]
    read: Callable[[Path, list[UserError]], Folder]
    guide: str

    @property
    def advice(self) -> str:
        """The guide, with advice for a folder that only looks like this dataset."""
        return f"{self.guide} For images of your own write a dataset.yaml."

    def fits(self, root: Path) -> bool:
        """Whether the folder is meant to be this dataset."""
        return root.is_dir() and any(any(root.glob(sign)) for sign in self.signs)

    def missing(self, root: Path) -> list[str]:
        """The patterns of `parts` that match no path in the folder."""
        return [part for part in self.parts if not any(root.glob(part))]

    def survey(self, root: Path) -> tuple[Folder, list[UserError]]:
        """The samples and every mistake in the names of the files; no samples where a part is missing."""
        mistakes: list[UserError] = []
        try:
            if missing := self.missing(root):
                what = f"this looks like {self.name}, but there is no {' and no '.join(missing)}"
                raise UserError(what, root, self.advice)
            folder = replace(self.read(root, mistakes), layout=self.name, guide=self.advice)
        except UserError as mistake:
            return Folder(root, UNKNOWN_CLASSES, (), (), (), (), self.name, self.advice), [mistake]
        if not any(sample.mask for sample in folder.train):
            what = f"this looks like {self.name}, but no train image has a mask"
            mistakes.append(UserError(what, root, self.advice))
        return folder, mistakes
