"""The demo: street scenes with 8 masks among 200 images, supervised against class_bank, a table and a picture."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from fewmask.data.folder import Folder, read_folder
from fewmask.data.images import read_image, read_mask
from fewmask.errors import UserError
from fewmask.recipe import Recipe, make_recipe
from fewmask.run.folder import RunFolder
from fewmask.scenes import write_scenes
from fewmask.training.start import resume_run, train_recipe
from fewmask.use.gallery import Column, class_colors, gallery
from fewmask.use.model import Model, load
from fewmask.use.tables import print_columns

TRAIN_IMAGES, MASKS, TEST_IMAGES = 200, 8, 60
STEPS = 400
METHODS = ("supervised", "class_bank")
_SHOWN = (0, 9, 17, 30)  # test scenes in the picture, chosen before any was predicted


def run_demo(out: Path, console: Console, steps: int | None = None) -> dict[str, dict[str, Any]]:
    """Makes the scenes, trains both methods for the same number of steps, scores both on the test scenes.

    Goes on where an interrupted demo stopped. Writes out/demo.png and returns the scores by method.
    """
    data, half_drawn = out / "scenes", out / ".scenes.part"
    if not data.exists():
        console.print(f"Drawing {TRAIN_IMAGES + TEST_IMAGES} street scenes; masks for {MASKS} of {TRAIN_IMAGES} ...")
        try:
            shutil.rmtree(half_drawn, ignore_errors=True)
            write_scenes(half_drawn, train=TRAIN_IMAGES, labeled=MASKS, test=TEST_IMAGES)
            half_drawn.rename(data)
        except OSError as error:
            raise UserError(f"cannot write there ({error.strerror})", out, "Choose another --out.") from None
    models, scores = {}, {}
    for method in METHODS:
        folder = out / method
        if RunFolder(folder).is_begun:
            _check_steps(folder, steps or STEPS)
            resume_run(folder, console)
        else:
            train_recipe(demo_recipe(data, method, steps), folder, console)
        models[method] = load(folder)
        scores[method] = models[method].evaluate("test")
    print_columns(f"IoU on {TEST_IMAGES} test scenes, {MASKS} masks", scores, console, gain=True)
    picture = out / "demo.png"
    draw_demo(read_folder(data), models, scores, picture)
    console.print(f"Look at {picture}: image, truth, and what both methods see.")
    return scores


def _check_steps(folder: Path, steps: int) -> None:
    before = RunFolder(folder).recipe().training.steps
    if before != steps:
        fix = f"Go on with it by --steps {before}, or choose another --out."
        raise UserError(f"the demo there is of {before} steps, and this one of {steps}", folder.parent, fix)


def demo_recipe(data: Path, method: str, steps: int | None = None, seed: int = 0) -> Recipe:
    """A small network from random weights: the demo needs no network connection."""
    settings = {
        "data": {"root": str(data)},
        "net": {"arch": "deeplabv3plus", "encoder": "mobilenetv2_050", "weights": "none"},
        "method": method,
        "training": {
            "steps": steps or STEPS,
            "labeled_batch": 4,
            "unlabeled_batch": 2,
            "learning_rate": 2e-3,
            "seed": seed,
        },
    }
    return make_recipe(settings)


def draw_demo(folder: Folder, models: Mapping[str, Model], scores: Mapping[str, dict[str, Any]], path: Path) -> None:
    """The grid: image, truth, and one column per model, headed by its mIoU."""
    samples = [folder.test[index] for index in _SHOWN]
    images = [read_image(sample.image).permute(1, 2, 0).numpy() for sample in samples]
    truths = [read_mask(sample.mask, folder.classes).numpy() for sample in samples if sample.mask]
    columns = [Column("image", images), Column("truth", [class_colors(truth, folder.classes) for truth in truths])]
    for name, model in models.items():
        predictions = [class_colors(model.predict_one(image).labels, folder.classes) for image in images]
        columns.append(Column(f"{name}   mIoU {100 * scores[name]['miou']:.1f}", predictions))
    gallery(columns, folder.classes).save(path)
