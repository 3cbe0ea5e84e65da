"""The demo: 8 masks drawn by day, 200 photos from dusk to night; a method against its baseline, a table, a picture."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from fewmask.data.folder import Folder, read_folder
from fewmask.data.images import read_image
from fewmask.data.masks import read_mask
from fewmask.errors import UserError
from fewmask.methods import DEMO
from fewmask.models.lite0 import weights_from_pip
from fewmask.recipe import Recipe, make_recipe
from fewmask.recipe.blocks import method_named
from fewmask.run.folder import RunFolder
from fewmask.scenes import write_scenes
from fewmask.training.start import resume_run, train_recipe
from fewmask.use.gallery import Column, class_colors, gallery
from fewmask.use.model import Model, load
from fewmask.use.tables import print_columns

MASKS, UNLABELED_IMAGES, TEST_IMAGES = 8, 200, 60
SCENE_SIZE = (80, 120)
STEPS = 160
METHOD = DEMO
BASELINE = str(method_named(METHOD).baseline)
METHODS = (BASELINE, METHOD)
ENCODER, WEIGHTS = "tf_efficientnet_lite0", "pip"
_COLOR = {"jitter_probability": 0.8, "brightness": 0.5, "contrast": 0.5, "saturation": 0.3, "blur_probability": 0.2}
METHOD_SETTINGS: dict[str, dict[str, Any]] = {
    BASELINE: {"weak": _COLOR},
    METHOD: {
        "num_views": 1,
        "teacher_momentum": 0.9,
        "quality_threshold": 0.8,
        "weak": _COLOR,
        "strong": _COLOR,
    },
}
"""For so short a run: one view of each image, a teacher of the last ten steps, and a bank that fills early.
All methods vary the colors of labeled images alike; without that, the supervised network is worse at night."""
STORY = (
    f"{MASKS} masks drawn by day, and {UNLABELED_IMAGES} photos without masks, from dusk to night. "
    "Can a network learn to see at night?"
)
_NOTES = {
    BASELINE: f"learned from {MASKS} masks of the day",
    METHOD: f"and from {UNLABELED_IMAGES} photos without masks",
}
_SHOWN = (0, 9, 17, 30)  # test scenes in the picture, chosen before any was predicted


def run_demo(out: Path, console: Console, steps: int | None = None) -> dict[str, dict[str, Any]]:
    """Makes the scenes, trains both methods for the same number of steps, scores both on the test scenes.

    Goes on where an interrupted demo stopped. Writes out/demo.png and returns the scores by method.
    """
    data, half_drawn = out / "scenes", out / ".scenes.part"
    if WEIGHTS == "pip":
        weights_from_pip(ENCODER)  # a missing package is one line before anything is drawn
    console.print(STORY, highlight=False)
    if not data.exists():
        console.print(f"Drawing {MASKS + UNLABELED_IMAGES + TEST_IMAGES} street scenes ...", highlight=False)
        try:
            shutil.rmtree(half_drawn, ignore_errors=True)
            write_demo_scenes(half_drawn)
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
    print_columns(f"IoU in percent on {TEST_IMAGES} other scenes of the night", scores, console, gain=True)
    picture = out / "demo.png"
    draw_demo(read_folder(data), models, scores, picture)
    console.print(f"Look at {picture}: image, truth, and what both methods see.")
    return scores


def _check_steps(folder: Path, steps: int) -> None:
    before = RunFolder(folder).recipe().training.steps
    if before != steps:
        fix = f"Go on with it by --steps {before}, or choose another --out."
        raise UserError(f"the demo there is of {before} steps, and this one of {steps}", folder.parent, fix)


def write_demo_scenes(root: Path, seed: int = 0) -> None:
    """Labeled scenes by day, unlabeled ones from dusk to night, test scenes at night; all cores draw."""
    write_scenes(
        root,
        train=MASKS + UNLABELED_IMAGES,
        labeled=MASKS,
        test=TEST_IMAGES,
        seed=seed,
        style="day",
        unlabeled_styles=("dusk", "night"),
        test_style="night",
        size=SCENE_SIZE,
        processes=os.cpu_count() or 1,
    )


def demo_recipe(data: Path, method: str, steps: int | None = None, seed: int = 0) -> Recipe:
    """A small network with ImageNet weights of the package index: the demo needs no model hub.

    Network, first weights, number of steps, labeled batch and learning rate are the same for every method.
    """
    settings = {
        "data": {"root": str(data)},
        "net": {
            "arch": "fpn",
            "encoder": ENCODER,
            "weights": WEIGHTS,
            "options": {"decoder_pyramid_channels": 128, "decoder_segmentation_channels": 64},
        },
        "method": {"name": method} | METHOD_SETTINGS.get(method, {"weak": _COLOR}),
        "training": {
            "steps": steps or STEPS,
            "labeled_batch": 4,
            "unlabeled_batch": 4,
            "learning_rate": 2e-3,
            "seed": seed,
            "feature_picture": False,
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
        note = _NOTES.get(name, "")
        columns.append(Column(f"{name}   mIoU {100 * scores[name]['miou']:.1f}", predictions, note))
    gallery(columns, folder.classes, scale=4).save(path)
