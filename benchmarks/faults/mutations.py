"""Files of every kind that fewmask reads, changed at random, and the readers that they are given to."""

import random
import re
import shutil
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console

from faults.trial import Case
from fewmask.data.classes import Classes, read_classes
from fewmask.data.images import num_pictures, read_image, read_size
from fewmask.data.lists import listed_names
from fewmask.data.masks import read_mask
from fewmask.data.sample import Sample
from fewmask.errors import UserError
from fewmask.recipe import read_recipe
from fewmask.training.start import resume_run

NASTY = (
    *(
        "2024-02-30",
        "!!int zz",
        "[" * 1000,
        "9" * 5000,
        "&a [*a]",
        "\0",
        "\ufeff",
        "\x85",
        "\u2028",
        "\x1b[2J",
        "é" * 300,
    ),
    *("-1", "0", "1e999", ".nan", ".inf", "null", "true", "[]", "{}", "''", "~", "9223372036854775808", "1.5", "? [a]"),
    *(
        "../../x",
        "/dev/zero",
        "a" * 5000,
        "\t",
        "---",
        ",",
        ";",
        '"',
        "'",
        "\r",
        "#",
        "%",
        "!!python/object:os.x",
        "*a",
    ),
)
CLASSES = (
    Classes(names=("ground", "box", "tree", "car")),
    Classes(names=("ground", "box"), encoding="binary"),
    Classes(names=("ground", "box"), encoding="rgb", colors=((0, 0, 0), (255, 0, 0))),
)
SAMPLES = [Sample(f"street {number}", Path(f"street {number}.png"), None) for number in range(20)]


def changed_bytes(content: bytes, draw: random.Random) -> bytes:
    """The content with one to four changes: flipped bits, other bytes, cut, doubled, moved or emptied pieces."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        start = draw.randrange(len(changed) + 1) if draw.random() < 0.7 else draw.randrange(min(64, len(changed)) + 1)
        end = min(len(changed), start + draw.choice((1, 2, 4, 16, 256)))
        piece = bytes(changed[start:end])
        changed[start:end] = draw.choice(
            (
                bytes(byte ^ 1 << draw.randrange(8) for byte in piece),
                draw.randbytes(len(piece)),
                draw.choice((b"\0", b"\xff", b"\x7f")) * len(piece),
                piece * draw.choice((0, 2, 50)),
                draw.choice(NASTY).encode(),
            )
        )
        if draw.random() < 0.1:
            del changed[draw.randrange(len(changed) + 1) :]
    return bytes(changed)


def changed_text(text: str, draw: random.Random) -> bytes:
    """The text with some words or lines replaced by others, by nasty ones, or with changed bytes."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        words = list(re.finditer(r"[^\s:,\[\]{}]+", text))
        word = draw.choice(words) if words else re.match("", text)
        assert word is not None
        other = draw.choice(NASTY) if draw.random() < 0.7 or not words else draw.choice(words)[0]
        text = text[: word.start()] + other + text[word.end() :]
    content = text.encode(errors="surrogatepass")
    return changed_bytes(content, draw) if draw.random() < 0.3 else content


def images(folder: Path, seed: int) -> Case:
    """Images and masks of every format."""
    corpus = _pictures()

    def case(number: int) -> None:
        draw = random.Random(f"{seed} image {number}")
        path = folder / f"{number}.png"
        path.write_bytes(changed_bytes(draw.choice(corpus), draw))
        readers: tuple[Callable[[Path], Any], ...] = (read_image, read_size, num_pictures)
        masks = tuple(lambda path, of=of: read_mask(path, of) for of in CLASSES)
        _each((*readers, *masks), path)

    return case


def texts(folder: Path, seed: int) -> Case:
    """Recipes, classes and lists."""
    recipe = "data: {root: data, labels: 1/2, crop: [32, 48], resize: 0.5}\nnet: {arch: unet, encoder: resnet18}\n"
    recipe += "method: {name: class_bank, bank_slots: 64, weak: {classmix_probability: 0.5}}\npretrain: {dim: 16}\n"
    recipe += "training:\n  steps: 100\n  learning_rate: 1.0e-3\n  select: best_val\n  precision: 32\n"
    names = "".join(f"train/street {number}.png\n" for number in range(20))
    kinds: Mapping[str, tuple[str, Callable[[Path], Any]]] = {
        "recipe.yaml": (recipe, read_recipe),
        "dataset.yaml": ("names: {0: ground, 7: car}\nignore: [255, 3]\n", lambda path: read_classes(path.parent)),
        "colors/dataset.yaml": (
            "names: [ground, car]\nencoding: rgb\ncolors: [[0, 0, 0], [9, 9, 9]]\nmore_colors: [[], [[1, 2, 3]]]\n",
            lambda path: read_classes(path.parent),
        ),
        "text/classes.txt": ("0 ground 0 0 0\n1 car 9 9 9\n2 void 1 1 1\n", lambda path: read_classes(path.parent)),
        "list.txt": (names, lambda path: listed_names(path, SAMPLES, "image")),
    }

    def read_as(name: str, number: int | str, content: bytes) -> None:
        path = folder / "texts" / str(number) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        _each((kinds[name][1],), path)

    def case(number: int) -> None:
        draw = random.Random(f"{seed} text {number}")
        name = draw.choice(list(kinds))
        read_as(name, number, changed_text(kinds[name][0], draw))

    for name, (text, _) in kinds.items():
        read_as(name, "whole", text.encode())  # otherwise a change would be no test
    return case


def runs(stopped: Path, folder: Path, seed: int) -> Case:
    """A file of a run that was stopped, and then the rest of its training."""
    files = sorted(path.relative_to(stopped) for path in stopped.rglob("*") if path.is_file() and path.name != ".lock")

    def case(number: int) -> None:
        draw = random.Random(f"{seed} run {number}")
        run = Path(shutil.copytree(stopped, folder / str(number)))
        file = run / draw.choice(files)
        if file.name == "training.pt" and draw.random() < 0.7:
            _change_state(file, draw)
        else:
            is_text = file.suffix in (".yaml", ".txt", ".csv")
            content = file.read_bytes()
            file.write_bytes(changed_text(content.decode(), draw) if is_text else changed_bytes(content, draw))
        if draw.random() < 0.8:  # otherwise the checksums find nearly everything
            next(run.glob("checkpoints/*/SHA256SUMS")).unlink()
        try:
            resume_run(run, Console(quiet=True))
        finally:
            shutil.rmtree(run, ignore_errors=True)

    return case


def _each(readers: tuple[Callable[[Path], Any], ...], path: Path) -> None:
    """Every reader has its try; whether the first one succeeds is the end of the case."""
    refused: list[UserError | None] = []
    for read in readers:
        try:
            read(path)
            refused.append(None)
        except UserError as error:
            refused.append(error)
    path.unlink()
    if refused[0] is not None:
        raise refused[0]


def _change_state(file: Path, draw: random.Random) -> None:
    """Puts another value at a random place of a checkpoint's state, which stays a whole file."""
    training = torch.load(file, weights_only=True)
    values: list[Any] = [None, -1, 2**63, "x", [], {}, (), float("nan"), torch.zeros(3), torch.zeros(1).expand(9, 9)]
    place: Any = training
    while True:
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.9:
            place = place[key]
            continue
        place[key] = draw.choice(values)
        break
    torch.save(training, file)


def _pictures() -> list[bytes]:
    """The same scene in every format and mode."""
    draw = np.random.default_rng(0)
    color = Image.fromarray(draw.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    labels = Image.fromarray(draw.integers(0, 4, (24, 32), dtype=np.uint8))
    palette = labels.convert("P")
    deep = Image.fromarray(draw.integers(0, 65536, (24, 32)).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    saved = []
    for picture, kind, options in (
        (color, "PNG", {}),
        (labels, "PNG", {}),
        (palette, "PNG", {"bits": 4}),
        (deep, "PNG", {}),
        (color.convert("RGBA"), "PNG", {}),
        (color, "JPEG", {"exif": exif}),
        (color, "TIFF", {"compression": "tiff_lzw"}),
        (labels, "TIFF", {"compression": "tiff_deflate", "save_all": True, "append_images": [labels]}),
        (deep, "TIFF", {}),
        (color, "BMP", {}),
        (palette, "GIF", {}),
        (color, "WEBP", {"lossless": True}),
        (color, "JPEG2000", {}),
        (color, "PPM", {}),
    ):
        content = BytesIO()
        picture.save(content, format=kind, **options)
        saved.append(content.getvalue())
    return saved
