"""A short training that is killed, finds its disk full or loses its folders, and is compared with an unbroken one."""

import errno
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

import numpy as np
import yaml
from PIL import Image
from rich.console import Console

from fewmask.errors import UserError
from fewmask.recipe import read_recipe
from fewmask.run.checkpoint import save_checkpoint
from fewmask.run.folder import RunFolder
from fewmask.training.hooks import checkpoints
from fewmask.training.start import resume_run, train_recipe

QUIET = Console(quiet=True)
NET = {"arch": "unet", "encoder": "test_resnet", "weights": "none"}
OPTIONS = {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}


def make_recipe_file(folder: Path, method: Any = "supervised", steps: int = 8, **training: Any) -> Path:
    """A data set of boxes and a recipe for it, which saves after every second step."""
    draw = np.random.default_rng(0)
    for place, count in (("train/images", 4), ("unlabeled", 4), ("val/images", 2)):
        (folder / "data" / place).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = draw.integers(0, 256, (32, 48, 3), dtype=np.uint8)
            name = f"{place.partition('/')[0]}{number}.png"
            Image.fromarray(pixels).save(folder / "data" / place / name)
            if place != "unlabeled":
                masks = (folder / "data" / place).with_name("masks")
                masks.mkdir(exist_ok=True)
                Image.fromarray(pixels[..., 0] // 128).save(masks / name)
    (folder / "data" / "dataset.yaml").write_text("names: [dark, bright]\n")
    blocks = {
        "data": {"root": str(folder / "data")},
        "net": NET | {"options": OPTIONS},
        "method": method,
        "training": {"steps": steps, "labeled_batch": 2, "precision": "32", "device": "cpu"}
        | {"log_every": 2, "checkpoint_every": 2, "score_every": 4}
        | training,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(blocks))
    return path


def go_on(recipe: Path, run: Path) -> None:
    """Begins the run, or goes on with it."""
    if RunFolder(run).is_begun:
        resume_run(run, QUIET)
    else:
        train_recipe(read_recipe(recipe), run, QUIET)


def stopped_run(recipe: Path, run: Path) -> Path:
    """A run that was killed after its first checkpoint."""

    def save_and_die(*arguments: Any) -> None:
        save_checkpoint(*arguments)
        os._exit(0)

    child = os.fork()
    if not child:
        with patch.object(checkpoints, "save_checkpoint", save_and_die):
            train_recipe(read_recipe(recipe), run, QUIET)
    os.waitpid(child, 0)
    return run


def kills(recipe: Path, unbroken: Path, folder: Path, wanted: int, seed: int) -> tuple[int, int, list[str]]:
    """Kills runs at random moments, and lets each go on; the number of kills, that of runs, and what differs."""
    draw, wrong, killed, number = random.Random(seed), [], 0, 0
    usual = _seconds(lambda: go_on(recipe, folder / "timed"))
    while killed < wanted:
        run, number = folder / f"killed{number}", number + 1
        for _ in range(draw.randrange(1, 5)):
            child = _child(lambda run=run: go_on(recipe, run))
            time.sleep(draw.uniform(0, 1.2 * usual))
            os.kill(child, signal.SIGKILL)
            killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        code = _code(lambda run=run: go_on(recipe, run))
        if code or not same_weights(run, unbroken):
            wrong.append(f"run {number} ended with {code}, and other weights")
        shutil.rmtree(run, ignore_errors=True)
    return killed, number, wrong


def same_weights(run: Path, unbroken: Path) -> bool:
    """Whether both runs have the same networks to the bit."""
    files = sorted(unbroken.glob("*.safetensors"))
    return bool(files) and all(
        (run / file.name).is_file() and (run / file.name).read_bytes() == file.read_bytes() for file in files
    )


@contextmanager
def at_write(number: int, happen: Callable[[], None]) -> Iterator[list[int]]:
    """Inside, the write of this number, counted from 0, does `happen` instead; yields how many writes there were."""
    count, opened = [0], Path.open

    def counting(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        file = opened(path, mode, *arguments, **options)
        if "r" in mode and "+" not in mode:
            return file
        count[0] += 1
        return _Failing(file, happen) if count[0] == number + 1 else file

    with patch.object(Path, "open", counting):
        yield count


class _Failing:
    """A file whose writes fail."""

    def __init__(self, file: IO[Any], happen: Callable[[], None]) -> None:
        self._file, self._happen = file, happen

    def __enter__(self) -> "_Failing":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: Any) -> int:
        self._happen()
        return int(self._file.write(content))


def full_disk() -> None:
    """What a write meets on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disk_is_full(recipe: Path, unbroken: Path, folder: Path) -> Callable[[int], None]:
    """The case in which the write of a number finds a full disk; afterwards the run goes on to the same weights."""

    def case(number: int) -> None:
        run = folder / f"full{number}"
        with suppress(UserError), at_write(number, full_disk):
            go_on(recipe, run)
        go_on(recipe, run)
        assert same_weights(run, unbroken), "other weights after a full disk"

    return case


def folder_vanishes(recipe: Path, which: str, folder: Path) -> Callable[[int], None]:
    """The case in which the data or the run folder is deleted before the write of a number."""

    def case(number: int) -> None:
        own = folder / f"{which}{number}"
        shutil.copytree(recipe.parent / "data", own / "data")
        text = recipe.read_text().replace(str(recipe.parent / "data"), str(own / "data"))
        (own / "recipe.yaml").write_text(text)
        run = own / "run"
        with at_write(number, lambda: shutil.rmtree(run if which == "run" else own / "data", ignore_errors=True)):
            go_on(own / "recipe.yaml", run)

    return case


def few_files(recipe: Path, folder: Path) -> Callable[[int], None]:
    """The case in which a process may have only so many files open, with a process that reads ahead."""

    def case(number: int) -> None:
        text = recipe.read_text().replace("data:\n", "data:\n  workers: 1\n  cache: false\n")
        own = folder / f"files{number}.yaml"
        own.write_text(text)
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))  # for good: the next case allows fewer
        go_on(own, folder / f"files{number}")

    return case


def number_of_writes(recipe: Path, folder: Path) -> int:
    """How many files a run opens to write."""
    with at_write(-1, full_disk) as count:
        go_on(recipe, folder / "counted")
    return count[0]


def _child(work: Callable[[], None]) -> int:
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        try:
            work()
        except BaseException:  # the parent counts it
            os._exit(1)
        os._exit(0)
    return child


def _code(work: Callable[[], None]) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(_child(work), 0)[1])


def _seconds(work: Callable[[], None]) -> float:
    before = time.perf_counter()
    assert _code(work) == 0
    return time.perf_counter() - before
