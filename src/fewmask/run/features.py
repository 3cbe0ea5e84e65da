"""features/ and features.csv: the looks that a run has taken at the features of its network.

A look is the file features/NUMBER_STAGE.safetensors: it was taken after NUMBER stages, the last of which is STAGE. All
looks show the same pictures, which lie in features/pictures.safetensors. The table features.csv holds the distances of
all looks.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from fewmask.data.store import Picture
from fewmask.run.atomic import write_bytes, write_text
from fewmask.run.files import damaged, number_in, read_table, read_tensors, table_text, whole_number_in
from fewmask.run.folder import RunFolder
from fewmask.shapes import UInt8

_COLUMNS = ("stage", "step", "intra_class_distance", "inter_class_distance", "inter_over_intra")


class Distances(NamedTuple):
    """Mean cosine distances in [0, 2]; NaN if there is no pair."""

    intra: float
    inter: float

    @property
    def ratio(self) -> float:
        """The factor by which classes lie farther apart than vectors of one class; NaN if each class is a point."""
        return self.inter / self.intra if self.intra > 0 else float("nan")


class FeatureLook(NamedTuple):
    """One look: a color map of each picture, on the grid of the features, and the distances over all pictures."""

    colors: list[UInt8[Tensor, "hs ws 3"]]
    distances: Distances


class Moment(NamedTuple):
    """When a look is taken: after this many stages, the last of which is `stage` ("start" before any), and steps."""

    num_stages: int
    stage: str
    step: int


class KeptLook(NamedTuple):
    """A look that a run has kept."""

    moment: Moment
    look: FeatureLook


class LookedAt(NamedTuple):
    """The pictures that all looks of a run show, and the split that they come from."""

    split: str
    pictures: list[Picture]


def read_looked_at(run: RunFolder) -> LookedAt | None:
    """The pictures that the looks of a run show; None before the first look.

    Raises:
        UserError: the file is damaged.
    """
    path = _pictures_file(run)
    if not path.exists():
        return None
    tensors = read_tensors(path)
    split = next(iter(tensors), "").partition(".")[0]
    try:
        pictures = [
            Picture(tensors[f"{split}.{index}.image"], tensors[f"{split}.{index}.labels"])
            for index in range(len(tensors) // 2)
        ]
    except KeyError as missing:
        raise damaged(path, ValueError(f"it holds no {missing}")) from None
    for image, labels in pictures:
        assert labels is not None
        _check_pixels(path, image, (3, None, None))
        _check_pixels(path, labels, (image.shape[1], image.shape[2]))
    if not pictures:
        raise damaged(path, ValueError("it holds no picture"))
    return LookedAt(split, pictures)


def write_looked_at(run: RunFolder, seen: LookedAt) -> None:
    """Keeps the pictures, which must have labels; raises OSError if they cannot be written."""
    tensors = {}
    for index, (image, labels) in enumerate(seen.pictures):
        assert labels is not None
        tensors[f"{seen.split}.{index}.image"], tensors[f"{seen.split}.{index}.labels"] = image, labels
    run.features.mkdir(exist_ok=True)
    write_bytes(_pictures_file(run), save(tensors))


def read_looks(run: RunFolder) -> list[KeptLook]:
    """The looks of a run in order; empty if the run takes none.

    Raises:
        UserError: a file is damaged.
    """
    paths = [path for path in run.features.glob("*_*.safetensors") if path.name.partition("_")[0].isdecimal()]
    return [_read_look(path) for path in sorted(paths, key=_number_and_stage)]


def check_looks(run: RunFolder) -> None:
    """Raises UserError if a later look cannot be added to the looks of a run, because a file is damaged."""
    seen, looks = read_looked_at(run), read_looks(run)
    for _, (colors, _) in looks:
        if seen is None or len(colors) != len(seen.pictures):
            raise damaged(run.features, ValueError("a look is not at the pictures that are kept"))


def write_look(run: RunFolder, look: FeatureLook, moment: Moment) -> None:
    """Keeps a look; raises OSError if it cannot be written."""
    colors = {f"colors.{index}": found for index, found in enumerate(look.colors)}
    distances = torch.tensor(look.distances, dtype=torch.float64)
    content = save({**colors, "distances": distances, "step": torch.tensor(moment.step)})
    run.features.mkdir(exist_ok=True)
    write_bytes(run.features / f"{moment.num_stages}_{moment.stage}.safetensors", content)


class FeatureRow(NamedTuple):
    """A row of features.csv."""

    stage: str
    step: int
    distances: Distances


def read_features_table(run: RunFolder) -> list[FeatureRow]:
    """The distances of all looks of a run, to six digits.

    Raises:
        UserError: the file is lost or damaged.
    """
    path = run.features_table
    return [
        FeatureRow(
            row.get("stage", ""),
            whole_number_in(row, "step", path),
            Distances(number_in(row, "intra_class_distance", path), number_in(row, "inter_class_distance", path)),
        )
        for row in read_table(path).rows
    ]


def write_features_table(run: RunFolder, looks: list[KeptLook]) -> None:
    """Writes the distances of the looks as a table; raises OSError if it cannot be written."""
    rows = [
        (moment.stage, moment.step, *(f"{value:.6f}" for value in (*distances, distances.ratio)))
        for moment, (_, distances) in looks
    ]
    write_text(run.features_table, table_text(_COLUMNS, [dict(zip(_COLUMNS, row, strict=True)) for row in rows]))


def _pictures_file(run: RunFolder) -> Path:
    return run.features / "pictures.safetensors"


def _number_and_stage(path: Path) -> tuple[int, str]:
    number, _, stage = path.stem.partition("_")
    return int(number), stage


def _read_look(path: Path) -> KeptLook:
    tensors = read_tensors(path)
    number, stage = _number_and_stage(path)
    try:
        moment = Moment(number, stage, int(tensors.pop("step")))
        distances = Distances(*tensors.pop("distances").tolist())
        colors = [tensors[f"colors.{index}"] for index in range(len(tensors))]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(path, ValueError(f"it is no look: {error}")) from None
    for found in colors:
        _check_pixels(path, found, (None, None, 3))
    return KeptLook(moment, FeatureLook(colors, distances))


def _check_pixels(path: Path, pixels: Tensor, shape: tuple[int | None, ...]) -> None:
    """Raises UserError if these are no bytes of this shape, in which None stands for any length but 0."""
    fits = len(shape) == pixels.ndim and all(
        length == wanted or (wanted is None and length) for length, wanted in zip(pixels.shape, shape, strict=True)
    )
    if pixels.dtype != torch.uint8 or not fits:
        raise damaged(path, ValueError("it holds no pictures as fewmask writes them"))
