"""Procedural street scenes with exact masks: the data of the demo, the tests and the benchmarks, made from a seed.

Colors overlap between classes and the layout varies, so neither color nor position alone tells a class; a person does
not hesitate. The four styles show the same streets in other light, for transfer from one domain to another.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from fewmask.errors import UserError, choices
from fewmask.scenes.canvas import SCENE_CLASSES, Array, Canvas
from fewmask.scenes.layout import draw_plan, furnish, place_camera
from fewmask.scenes.light import STYLES, draw_light, expose, photograph

__all__ = ["SCENE_CLASSES", "SCENE_COLORS", "STYLES", "draw_scene", "write_scenes"]

SCENE_COLORS = (
    (112, 170, 220),
    (130, 92, 84),
    (96, 84, 110),
    (226, 150, 190),
    (78, 140, 62),
    (40, 60, 170),
    (214, 40, 60),
    (240, 200, 60),
)
OVERSAMPLING = 2
SPLITS = ("train", "val", "test")
SCENES_PER_PROCESS = 32
"""A process takes a few seconds to start; for fewer scenes it is not worth it."""


def draw_scene(
    seed: int, style: str = "day", height: int = 128, width: int = 192
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The picture [h w 3] and the classes [h w] of scene number `seed`; the classes are the same in every style."""
    if style not in STYLES:
        raise UserError(f"scene style is {style!r}", fix=f"Choose one of {choices(style, STYLES)}.")
    plan, weather = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    light = draw_light(style, weather)
    ground = draw_plan(plan)
    canvas = Canvas(place_camera(plan, ground, height * OVERSAMPLING, width * OVERSAMPLING), light.sun)
    furnish(canvas, ground, plan)
    radiance = expose(canvas, light, weather)
    blocks = (height, OVERSAMPLING, width, OVERSAMPLING)
    picture = photograph(_average(radiance.reshape(*blocks, 3)), light, weather)
    image = (picture * 255 + 0.5).astype(np.uint8)
    return image, _majority(canvas.thing.reshape(blocks), canvas.depth.reshape(blocks)).astype(np.uint8, copy=False)


def write_scenes(
    root: Path,
    train: int,
    labeled: int | None = None,
    val: int = 0,
    test: int = 0,
    seed: int = 0,
    style: str = "day",
    unlabeled_styles: Sequence[str] | None = None,
    test_style: str | None = None,
    size: tuple[int, int] = (128, 192),
    processes: int = 1,
) -> None:
    """Write a dataset folder of scenes; only the first `labeled` training images get a mask (default: all).

    Scenes are numbered through train, val and test, so no two splits share one; another `seed` gives other scenes.
    A folder that already holds a split is refused: masks left in it would label images that should have none.

    Args:
        style: of the labeled training scenes and of val.
        unlabeled_styles: of the other training scenes, which take turns; None: `style`.
        test_style: of test; None: `style`.
        size: height and width of a scene.
        processes: how many draw at the same time. A few scenes are drawn in this process.
    """
    labeled = train if labeled is None else labeled
    if not 0 <= labeled <= train:
        raise UserError(f"{labeled} labeled scenes of {train}", fix=f"Ask for 0 to {train} labeled scenes.")
    root = Path(root)
    for split in SPLITS:
        if (root / split).exists():
            raise UserError(f"the folder already holds {split}", root, "Delete it, or name a new folder.")
    root.mkdir(parents=True, exist_ok=True)
    classes = {"names": list(SCENE_CLASSES), "colors": [list(color) for color in SCENE_COLORS]}
    (root / "dataset.yaml").write_text(yaml.safe_dump(classes, sort_keys=False, default_flow_style=None))
    jobs: list[_Job] = []
    for split, count in zip(SPLITS, (train, val, test), strict=True):
        for index in range(count):
            has_mask = split != "train" or index < labeled
            others = {"train": () if has_mask else unlabeled_styles, "test": (test_style or style,)}.get(split) or (
                style,
            )
            of_style = others[index % len(others)]
            jobs.append(_Job(root / split, index, seed * 1_000_003 + len(jobs), of_style, size, has_mask))
    processes = min(processes, len(jobs) // SCENES_PER_PROCESS)
    if processes < 2:
        for job in jobs:
            _draw_and_save(job)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        deque(pool.map(_draw_and_save, jobs, chunksize=8), maxlen=0)


class _Job(NamedTuple):
    """A scene to draw, and where it goes."""

    folder: Path
    number: int
    seed: int
    style: str
    size: tuple[int, int]
    has_mask: bool


def _draw_and_save(job: _Job) -> None:
    image, label = draw_scene(job.seed, job.style, *job.size)
    name = f"{job.number:04d}.png"
    _save(Image.fromarray(image), job.folder / "images" / name)
    if job.has_mask:
        mask = Image.fromarray(label)
        mask.putpalette([level for color in SCENE_COLORS for level in color])
        _save(mask, job.folder / "masks" / name)


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, compress_level=6)


def _average(samples: Array) -> Array:
    height, rows, width, columns, channels = samples.shape
    total = np.zeros((height, width, channels), np.float32)
    for row in range(rows):
        for column in range(columns):
            total += samples[:, row, :, column]
    return total / np.float32(rows * columns)


def _majority(thing: Array, depth: Array) -> Array:
    """The class of most samples of each pixel; of equals the nearest. Both inputs: (h, samples, w, samples)."""
    height, _, width, _ = thing.shape
    samples, depths = (plane.transpose(0, 2, 1, 3).reshape(height * width, -1) for plane in (thing, depth))
    label = samples[:, 0].copy()
    mixed = np.nonzero((samples != samples[:, :1]).any(1))[0]
    votes = (samples[mixed, :, None] == samples[mixed, None, :]).sum(2)
    winner = (votes + 1 / (1 + depths[mixed])).argmax(1)
    label[mixed] = samples[mixed, winner]
    return label.reshape(height, width)
