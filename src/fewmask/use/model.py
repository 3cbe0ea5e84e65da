"""A trained model in the hand: load a run, predict images, score a split."""

import json
from collections.abc import Callable, Sequence
from itertools import tee
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchmetrics.functional.classification import multiclass_confusion_matrix

from fewmask.data.classes import Classes
from fewmask.data.folder import Sample, read_folder
from fewmask.data.images import read_image
from fewmask.data.store import FileStore
from fewmask.errors import UserError, choices, in_command
from fewmask.models.build import build_net
from fewmask.models.segnet import SegNet
from fewmask.recipe import Recipe
from fewmask.recipe.folders import target_folder
from fewmask.run.atomic import write_text
from fewmask.run.checkpoint import load_state
from fewmask.run.folder import RunFolder, check_data_is_there
from fewmask.run.validation import selected_look
from fewmask.shapes import IGNORE
from fewmask.use.deployed import predicted_labels, probabilities
from fewmask.use.device import choose_device
from fewmask.use.scores import Scores, scores_of

Tick = Callable[[int], None]
"""Called after every image with the number of them all."""


class Prediction(NamedTuple):
    """Of one image: labels uint8 [h w] and confidence float32 [h w] in [0, 1]."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]


class Model:
    """The networks of a finished run.

    Attributes:
        recipe: the run's recipe.
        classes: names and colors.
        nets: `student`, and `teacher` where the method has one.
        predictor: which of them predicts.
    """

    def __init__(
        self, recipe: Recipe, classes: Classes, nets: dict[str, SegNet], predictor: str, run: RunFolder
    ) -> None:
        self.recipe, self.classes, self.nets, self.predictor, self.run = recipe, classes, nets, predictor, run

    def predict(self, images: Sequence[str | Path | NDArray[Any] | Image.Image]) -> list[Prediction]:
        """Labels and confidence of images given as files, PIL images, or uint8 RGB arrays [h w 3]."""
        if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim == 3):
            where = images if isinstance(images, str | Path) else "predict"
            raise UserError("this is one image, not a list", where, "Write predict([image]) or predict_one(image).")
        return [self.predict_one(image) for image in images]

    def predict_one(self, image: str | Path | NDArray[Any] | Image.Image) -> Prediction:
        """As `predict`, of one image."""
        scores = probabilities(self.nets[self.predictor], _as_tensor(image), self.recipe.data.resize)
        confidence, labels = scores.max(dim=0)
        return Prediction(labels.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy())

    def evaluate(self, split: str, tick: Tick = lambda total: None, data: Path | None = None) -> dict[str, Any]:
        """Scores of every net on `val` or `test` at full label size; those on the run's own data are kept in it.

        Returns:
            `{"miou", "per_class", "pixel_accuracy"}` of the predictor, the same under `student` and `teacher`
            (None without one), and `split`, `images`, `predictor`, `selected` (the step that val chose; None where
            the last step is the result). IoU is in [0, 1]; None for an absent class.
        """
        if data is None:
            check_data_is_there(self.run, self.recipe)
        folder = target_folder(self.recipe.data) if data is None else read_folder(data)
        samples = labeled_samples({"train": folder.train, "val": folder.val, "test": folder.test}, split, folder.root)
        if folder.classes.names != self.classes.names:
            own, other = self.classes.names, folder.classes.names
            pair = next((pair for pair in zip(own, other, strict=False) if pair[0] != pair[1]), None)
            what = f"the run has {len(own)} classes, the folder {len(other)}"
            if pair is not None:
                what = f"the run has a class {pair[0]} where the folder has {pair[1]}"
            fix = f"Both need these, in this order: {', '.join(own)}."
            raise UserError(what, folder.root, fix)
        selected = selected_look(self.run, self.recipe)
        scores = score(self.nets, samples, folder.classes, self.recipe, tick)
        result = {
            **scores[self.predictor].as_json(),
            "split": split,
            "images": len(samples),
            "predictor": self.predictor,
            "selected": selected,
            "student": scores["student"].as_json(),
            "teacher": scores["teacher"].as_json() if "teacher" in scores else None,
        }
        if data is None:
            try:
                write_text(self.run.scores_file(split), json.dumps(result, indent=2) + "\n")
            except OSError as error:
                reason = f"the scores could not be written ({error.strerror})"
                fix = f"Make the run folder writable, or only print them: --data {in_command(folder.root)}"
                raise UserError(reason, self.run.scores_file(split), fix) from None
        return result


def load(path: str | Path, device: str = "auto") -> Model:
    """The trained model of a run folder."""
    run = RunFolder(Path(path))
    recipe, classes = run.recipe(), run.classes()
    device = choose_device(device, "--device")
    if not run.model_file("student").exists():
        raise UserError(
            "the training is not finished", run.path, f"Finish it: fewmask train --resume {in_command(run.path)}"
        )
    nets = {}
    for which in ("student", "teacher"):
        file = run.model_file(which)
        if file.exists():
            net = build_net(recipe.net.model_copy(update={"weights": "none"}), len(classes))
            load_state(file, net)
            nets[which] = net.to(device).eval()
    return Model(recipe, classes, nets, recipe.method_type.predictor, run)


def labeled_samples(splits: dict[str, tuple[Sample, ...]], split: str, root: Path) -> list[Sample]:
    """The samples of a split that have masks."""
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
    nets: dict[str, SegNet],
    samples: Sequence[Sample],
    classes: Classes,
    recipe: Recipe,
    tick: Tick = lambda total: None,
) -> dict[str, Scores]:
    """Scores per net from one confusion matrix each over all samples, which have masks, at full label size."""
    full_size = FileStore(samples, classes)
    totals = {name: torch.zeros(len(classes), len(classes), dtype=torch.int64) for name in nets}
    pictures, again = tee(full_size.picture(index) for index in range(len(full_size)))
    predicted = predicted_labels(nets, (picture.image for picture in pictures), recipe.data.resize)
    for answers, picture in zip(predicted, again, strict=True):
        assert picture.labels is not None
        truth = picture.labels.long()
        for name, labels in answers.items():
            matrix = multiclass_confusion_matrix(labels.cpu().long(), truth, len(classes), ignore_index=IGNORE)
            totals[name] += matrix
        tick(len(full_size))
    return {name: scores_of(total, classes.names) for name, total in totals.items()}


def _as_tensor(image: str | Path | NDArray[Any] | Image.Image) -> torch.Tensor:
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        if image.mode.startswith(("I", "F")):  # Pillow would cut its levels at 255
            fix = "Give its file, which is read in full depth, or convert it to 8 bits."
            raise UserError(f"a picture of mode {image.mode} has no 8-bit levels", "predict", fix)
        image = image.convert("RGBA") if "transparency" in image.info else image
        pixels = np.array(image.convert("RGB"))
    else:
        pixels = np.array(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UserError(
            f"an array of shape {pixels.shape} and type {pixels.dtype} is no image",
            "predict",
            "Give uint8 [h, w, 3] RGB.",
        )
    return torch.from_numpy(pixels).permute(2, 0, 1)
