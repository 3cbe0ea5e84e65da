"""A dataset of colored boxes that trains in a second, and fewmask commands run as a person runs them."""

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

from fewmask import cli
from fewmask.recipe import Recipe
from fewmask.run.folder import Beginning, RunFolder
from fewmask.training.prepare import prepare_data

NAMES = ("ground", "box", "tree", "car")
HEIGHT, WIDTH = 48, 64
NET = {
    "arch": "unet",
    "encoder": "test_resnet",
    "weights": "none",
    "options": {"encoder_depth": 3, "decoder_channels": [32, 16, 8]},
}
TRAINING = {
    "steps": 4,
    "labeled_batch": 2,
    "precision": "32",
    "device": "cpu",
    "log_every": 2,
    "checkpoint_every": 2,
    "feature_picture": False,
    "report": False,
}
_COLORS = np.array([[90, 90, 90], [220, 40, 40], [40, 200, 40], [40, 60, 220]], np.uint8)

_children = multiprocessing.get_context("forkserver")  # whose server is warm (conftest.py)


class Answer(NamedTuple):
    """What a command left behind."""

    code: int | None
    out: str
    err: str


def draw_scene(generator: np.random.Generator, height: int = HEIGHT, width: int = WIDTH) -> tuple[Any, Any]:
    """An image uint8 [h w 3] and its labels uint8 [h w]: one box of each class on the ground."""
    labels = np.zeros((height, width), np.uint8)
    for label in (1, 2, 3):
        top, left = generator.integers(0, height - 18), generator.integers(0, width - 20)
        labels[top : top + 18, left : left + 20] = label
    noise = generator.integers(-20, 21, (height, width, 3))
    return np.clip(_COLORS[labels] + noise, 0, 255).astype(np.uint8), labels


def make_dataset(root: Path, labeled: int = 4, unlabeled: int = 6, val: int = 3, test: int = 3) -> Path:
    """A dataset folder of four classes."""
    generator = np.random.default_rng(0)
    for split, count in (("train", labeled), ("val", val), ("test", test)):
        for index in range(count):
            image, labels = draw_scene(generator)
            save(image, root / split / "images" / f"{split}{index}.png")
            save(labels, root / split / "masks" / f"{split}{index}.png")
    for index in range(unlabeled):
        save(draw_scene(generator)[0], root / "unlabeled" / f"more{index}.png")
    (root / "dataset.yaml").write_text(f"names: [{', '.join(NAMES)}]\n")
    return root


def save(pixels: Any, path: Path) -> None:
    """The array as an image file, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def save_lying(image: Any, path: Path) -> None:
    """The image turned, with the EXIF note that turns it back."""
    orientation = Image.Exif()
    orientation[0x0112] = 6  # a viewer turns it clockwise
    Image.fromarray(np.rot90(image).copy()).save(path, exif=orientation)


def read(path: Path) -> Image.Image:
    """The picture in a file, loaded and closed."""
    with Image.open(path) as picture:
        picture.load()
    return picture


def write_recipe(path: Path, data: Path, method: Any = "class_bank", **training: Any) -> Path:
    """A recipe file for the small network."""
    blocks = {"data": {"root": str(data)}, "net": NET, "method": method, "training": TRAINING | training}
    path.write_text(yaml.safe_dump(blocks))
    return path


def begin_run(recipe: Recipe, path: Path) -> RunFolder:
    """A run folder in which nothing has been trained yet."""
    data, run = prepare_data(recipe), RunFolder(path)
    with run.begun(Beginning(recipe, data.classes, data.partition, data.source_names)):
        return run


def command(capsys: pytest.CaptureFixture[str], *words: object) -> Answer:
    """Runs `fewmask WORDS` in this process."""
    capsys.readouterr()
    before, sys.argv = sys.argv, ["fewmask", *map(str, words)]
    try:
        cli.main()
        code: Any = 0
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    return Answer(code or 0, *capsys.readouterr())


def assert_mistake(answer: Answer, *fragments: object) -> None:
    """One line on stderr that holds these fragments, and exit code 2."""
    assert answer.code == 2, answer
    assert answer.err.startswith("fewmask: "), answer.err
    assert answer.err.count("\n") == 1, answer.err
    for fragment in fragments:
        assert str(fragment) in answer.err


@contextmanager
def short_files(longest: int) -> Iterator[None]:
    """Inside, a file that grows beyond so many bytes is an OSError, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


PATIENCE = 400.0
"""Seconds until a command counts as hanging: on two busy cores a training of seconds takes minutes."""


class Child:
    """`fewmask WORDS` in a process of its own, which may be killed and whose files may be kept short.

    `main` may be another function than that of the command; `environment` is what it finds in os.environ besides.
    """

    def __init__(
        self,
        folder: Path,
        *words: object,
        longest_file: int | None = None,
        environment: Mapping[str, str] | None = None,
        main: Callable[[], None] = cli.main,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        streams = str(self._out), str(self._err)
        arguments = [str(word) for word in words], streams, longest_file, dict(environment or {}), main
        self.process = _children.Process(target=_run, args=arguments)
        self.process.start()

    def wait_for(self, happened: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Returns when `happened`, which must be while the command runs."""
        end = time.monotonic() + seconds
        while not happened():
            assert self.process.is_alive(), f"the command ended before: {self._err.read_text()}"
            assert time.monotonic() < end, "it never happened"
            time.sleep(0.005)

    def signal(self, number: int) -> None:
        """Sends a signal to the command and the processes that it started, as a terminal does."""
        assert self.process.pid is not None
        os.killpg(self.process.pid, number)

    def answer(self) -> Answer:
        """Waits for the end."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.signal(signal.SIGKILL)
            pytest.fail(f"the command does not end: {self._err.read_text()}")
        return Answer(self.process.exitcode, self._out.read_text(), self._err.read_text())


def _run(
    words: Sequence[str],
    streams: Sequence[str],
    longest_file: int | None,
    environment: Mapping[str, str],
    main: Callable[[], None],
) -> None:
    os.setsid()
    os.environ |= environment
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup, under which tests may run, has them ignore
    multiprocessing.set_start_method(None, force=True)  # that of the system, as for a person
    for descriptor, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.argv = ["fewmask", *words]
    with nullcontext() if longest_file is None else short_files(longest_file):
        main()
