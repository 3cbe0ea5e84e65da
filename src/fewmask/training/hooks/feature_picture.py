"""The feature picture of a run: what its network makes of a few pictures before training and after every stage.

Each look is a file of the run folder as soon as it is taken, and features.csv and features.png are made of these files
alone: a resumed run needs no earlier network and ends with the same picture.
"""

import csv
import io
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from fewmask.data.classes import Classes
from fewmask.data.store import FileStore, Picture
from fewmask.models.segnet import SegNet
from fewmask.recipe import Recipe
from fewmask.run.atomic import write_bytes, write_text
from fewmask.run.checkpoint import cannot_write
from fewmask.run.folder import RunFolder
from fewmask.training.prepare import TrainingData
from fewmask.use.features import Distances, FeatureLook, look_at
from fewmask.use.gallery import Column, class_colors, gallery

_SHOWN = 4
_LARGEST = 768  # pixels; of a larger picture the middle is looked at, so that a look stays small
_WIDTH = 400  # pixels of a picture in the grid
_COLUMNS = 6  # of looks: of more, the first, the last and four between are drawn


class Moment(NamedTuple):
    """When a look is taken: after so many stages, the last of which is `stage` ("start" before any), and steps."""

    num_stages: int
    stage: str
    step: int


def look_at_features(run: RunFolder, net: SegNet, data: TrainingData, recipe: Recipe, moment: Moment) -> None:
    """Takes a look, and makes table and picture of all looks so far.

    The pictures are four, evenly spaced, of test, else of val, else of the run's labeled ones; they are copied to the
    run folder at the first look, so that all looks are at the same ones.

    Raises:
        UserError: a picture cannot be read, or a file of the run folder not be written.
    """
    kept = run.features / "pictures.safetensors"
    pictures = load_tensors(kept.read_bytes()) if kept.exists() else _chosen(data, recipe)
    split, shown = _unpacked(pictures)
    look = look_at(net, shown, data.classes)
    try:
        run.features.mkdir(exist_ok=True)
        if not kept.exists():
            write_bytes(kept, save_tensors(pictures))
        write_bytes(run.features / f"{moment.num_stages}_{moment.stage}.safetensors", _packed(look, moment.step))
        looks = _read_looks(run)
        write_text(run.features_table, _as_csv(looks))
        write_bytes(run.features_picture, _drawn(split, shown, looks, data.classes))
    except OSError as error:
        raise cannot_write(run, "the feature picture", error) from None


class _KeptLook(NamedTuple):
    stage: str
    step: int
    look: FeatureLook


def _chosen(data: TrainingData, recipe: Recipe) -> dict[str, torch.Tensor]:
    splits = {"test": data.folder.test, "val": data.folder.val, "labeled": data.partition.labeled}
    with_masks = {split: [sample for sample in samples if sample.mask] for split, samples in splits.items()}
    split, samples = next((split, samples) for split, samples in with_masks.items() if samples)
    count = min(_SHOWN, len(samples))
    own = split == "labeled"  # which may be of a source domain, with another encoding and size
    store = data.labeled if own else FileStore(samples, data.classes, recipe.data.resize)
    tensors = {}
    for index in range(count):
        image, labels = store.picture(index * len(samples) // count)
        assert labels is not None
        tensors[f"{split}.{index}.image"], tensors[f"{split}.{index}.labels"] = _middle(image), _middle(labels)
    return tensors


def _middle(pixels: torch.Tensor) -> torch.Tensor:
    height, width = pixels.shape[-2:]
    top, left = max(0, height - _LARGEST) // 2, max(0, width - _LARGEST) // 2
    return pixels[..., top : top + _LARGEST, left : left + _LARGEST].contiguous()


def _unpacked(tensors: dict[str, torch.Tensor]) -> tuple[str, list[Picture]]:
    split = next(iter(tensors)).partition(".")[0]
    count = len(tensors) // 2
    return split, [
        Picture(tensors[f"{split}.{index}.image"], tensors[f"{split}.{index}.labels"]) for index in range(count)
    ]


def _packed(look: FeatureLook, step: int) -> bytes:
    colors = {f"colors.{index}": found for index, found in enumerate(look.colors)}
    distances = torch.tensor(look.distances, dtype=torch.float64)
    return save_tensors({**colors, "distances": distances, "step": torch.tensor(step)})


def _read_looks(run: RunFolder) -> list[_KeptLook]:
    looks = []
    for path in sorted(run.features.glob("[0-9]*.safetensors"), key=lambda path: int(path.name.partition("_")[0])):
        tensors = load_tensors(path.read_bytes())
        step, distances = int(tensors.pop("step")), Distances(*tensors.pop("distances").tolist())
        look = FeatureLook([tensors[f"colors.{index}"] for index in range(len(tensors))], distances)
        looks.append(_KeptLook(path.stem.partition("_")[2], step, look))
    return looks


def _as_csv(looks: list[_KeptLook]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["stage", "step", "intra_class_distance", "inter_class_distance", "inter_over_intra"])
    for stage, step, (_, distances) in looks:
        table.writerow([stage, step, *(f"{value:.6f}" for value in (*distances, distances.ratio))])
    return text.getvalue()


def _drawn(split: str, shown: list[Picture], looks: list[_KeptLook], classes: Classes) -> bytes:
    height, width = shown[0].image.shape[-2:]
    frame = (_WIDTH, round(_WIDTH * height / width))
    truths = [class_colors(picture.labels.numpy(), classes) for picture in shown if picture.labels is not None]
    columns = [
        Column(f"{split} image", [picture.image.permute(1, 2, 0).numpy() for picture in shown]),
        Column("truth", truths, "feature distances:"),
    ]
    for stage, step, (colors, distances) in _drawn_looks(looks):
        heading = f"after {stage}, step {step}" if step else stage
        note = f"intra {distances.intra:.3f}   inter {distances.inter:.3f}   ratio {distances.ratio:.2f}"
        columns.append(Column(heading, [found.numpy() for found in colors], note))
    smooth, exact = Image.Resampling.LANCZOS, Image.Resampling.NEAREST
    framed = [_in_frame(column, frame, exact if index else smooth) for index, column in enumerate(columns)]
    content = io.BytesIO()
    gallery(framed, classes, scale=1).save(content, format="PNG")
    return content.getvalue()


def _drawn_looks(looks: list[_KeptLook]) -> list[_KeptLook]:
    if len(looks) <= _COLUMNS:
        return looks
    return [looks[round(place * (len(looks) - 1) / (_COLUMNS - 1))] for place in range(_COLUMNS)]


def _in_frame(column: Column, frame: tuple[int, int], resampling: Image.Resampling) -> Column:
    """Pictures of several sizes in frames of one."""
    padded = (ImageOps.pad(Image.fromarray(pixels), frame, resampling, color="white") for pixels in column.pictures)
    return column._replace(pictures=[np.asarray(picture) for picture in padded])
