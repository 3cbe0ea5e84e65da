"""The feature picture of a run: the features of a few pictures before training and after every stage.

Each look becomes a file of the run folder as soon as it is taken, and features.csv and features.png are made from
these files alone. So a resumed run needs no earlier network and ends with the same picture.
"""

import io
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps
from rich.console import Console

from fewmask.data.classes import Classes
from fewmask.data.store import FileStore, Picture
from fewmask.errors import UserError
from fewmask.models.segnet import SegNet
from fewmask.recipe import Recipe
from fewmask.run.atomic import write_bytes
from fewmask.run.checkpoint import cannot_write
from fewmask.run.features import (
    KeptLook,
    LookedAt,
    Moment,
    check_looks,
    read_looked_at,
    read_looks,
    write_features_table,
    write_look,
    write_looked_at,
)
from fewmask.run.files import set_aside
from fewmask.run.folder import RunFolder
from fewmask.say import say
from fewmask.training.hooks.hook import Hook
from fewmask.training.prepare import TrainingData
from fewmask.use.features import look_at
from fewmask.use.gallery import Column, class_colors, gallery

if TYPE_CHECKING:
    from fewmask.training.trainer import Trainer

_SHOWN = 4
_LARGEST = 768  # pixels; only the middle of a larger picture is looked at, so that a look stays small
_WIDTH = 400  # width of a picture in the grid, in pixels
_COLUMNS = 6  # number of looks that are drawn; of more, the first, the last and four between them


class FeaturePicture(Hook):
    """Rank 0 looks at the shipped network while all ranks pause. Damaged looks of an earlier process are set aside."""

    def __init__(self, run: RunFolder, data: TrainingData, recipe: Recipe, console: Console) -> None:
        self._run, self._data, self._recipe, self._console = run, data, recipe, console

    def on_start(self, trainer: "Trainer") -> None:
        if trainer.fabric.is_global_zero:
            self._set_damaged_aside()
        if trainer.done == 0:
            self._look(trainer, "start")

    def on_stage_end(self, trainer: "Trainer") -> None:
        self._look(trainer, trainer.stages[trainer.position.stage - 1].name)

    def _set_damaged_aside(self) -> None:
        try:
            check_looks(self._run)
        except UserError as mistake:
            aside = set_aside(self._run.features)
            text = f"The looks at the features are damaged ({mistake.what}): they are kept in {aside} and begun anew."
            say(self._console, text, "yellow")

    def _look(self, trainer: "Trainer", stage: str) -> None:
        net = next(iter(trainer.method.networks().values()))
        moment = Moment(trainer.position.stage, stage, trainer.done)
        trainer.alone(lambda: look_at_features(self._run, net, self._data, self._recipe, moment))


def look_at_features(run: RunFolder, net: SegNet, data: TrainingData, recipe: Recipe, moment: Moment) -> None:
    """Takes a look, and makes the table and the picture of all looks so far.

    Four pictures are looked at, evenly spaced in test, or in val if test has no masks, or else among the run's labeled
    images. The first look copies them to the run folder, so that all looks show the same pictures.

    Raises:
        UserError: a picture cannot be read, or a file of the run folder cannot be written.
    """
    kept = read_looked_at(run)
    seen = kept or _chosen(data, recipe)
    look = look_at(net, seen.pictures, data.classes)
    try:
        if kept is None:
            write_looked_at(run, seen)
        write_look(run, look, moment)
        looks = read_looks(run)
        write_features_table(run, looks)
        write_bytes(run.features_picture, _drawn(seen, looks, data.classes))
    except OSError as error:
        raise cannot_write(run, "the feature picture", error) from None


def _chosen(data: TrainingData, recipe: Recipe) -> LookedAt:
    splits = {"test": data.folder.test, "val": data.folder.val, "labeled": data.partition.labeled}
    with_masks = {split: [sample for sample in samples if sample.mask] for split, samples in splits.items()}
    split, samples = next((split, samples) for split, samples in with_masks.items() if samples)
    own = split == "labeled"  # these may be of a source domain, with another encoding and size; some are held out
    store = data.labeled if own else FileStore(samples, data.classes, recipe.data.resize)
    count = min(_SHOWN, len(store))
    pictures = []
    for index in range(count):
        image, labels = store.picture(index * len(store) // count)
        assert labels is not None
        pictures.append(Picture(_middle(image), _middle(labels)))
    return LookedAt(split, pictures)


def _middle(pixels: torch.Tensor) -> torch.Tensor:
    height, width = pixels.shape[-2:]
    top, left = max(0, height - _LARGEST) // 2, max(0, width - _LARGEST) // 2
    return pixels[..., top : top + _LARGEST, left : left + _LARGEST].contiguous()


def _drawn(seen: LookedAt, looks: list[KeptLook], classes: Classes) -> bytes:
    split, shown = seen
    height, width = shown[0].image.shape[-2:]
    frame = (_WIDTH, round(_WIDTH * height / width))
    truths = [class_colors(picture.labels.numpy(), classes) for picture in shown if picture.labels is not None]
    columns = [
        Column(f"{split} image", [picture.image.permute(1, 2, 0).numpy() for picture in shown]),
        Column("truth", truths, "feature distances:"),
    ]
    for moment, (colors, distances) in _drawn_looks(looks):
        heading = f"after {moment.stage}, step {moment.step}" if moment.step else moment.stage
        note = f"intra {distances.intra:.3f}   inter {distances.inter:.3f}   ratio {distances.ratio:.2f}"
        columns.append(Column(heading, [found.numpy() for found in colors], note))
    smooth, exact = Image.Resampling.LANCZOS, Image.Resampling.NEAREST
    framed = [_in_frame(column, frame, exact if index else smooth) for index, column in enumerate(columns)]
    content = io.BytesIO()
    gallery(framed, classes, scale=1).save(content, format="PNG")
    return content.getvalue()


def _drawn_looks(looks: list[KeptLook]) -> list[KeptLook]:
    if len(looks) <= _COLUMNS:
        return looks
    return [looks[round(place * (len(looks) - 1) / (_COLUMNS - 1))] for place in range(_COLUMNS)]


def _in_frame(column: Column, frame: tuple[int, int], resampling: Image.Resampling) -> Column:
    """The column with its pictures, which may differ in size, padded to frames of one size."""
    padded = (ImageOps.pad(Image.fromarray(pixels), frame, resampling, color="white") for pixels in column.pictures)
    return column._replace(pictures=[np.asarray(picture) for picture in padded])
