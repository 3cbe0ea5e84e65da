"""How long a person waits for an answer: `fewmask settings`, and `fewmask doctor` on 10,000 images of 200 x 200.

    python benchmarks/waiting.py

Each answer is timed beside the way it is not given: settings from the list in the package against an import of all
methods, and the doctor with all cores against the doctor with one. Both ways take turns. `seconds` is the clock's
median, and `ratio` is over the other way. Rows are added to benchmarks/waiting.csv; rows that are there already are
skipped.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from rich.console import Console

from table import Table

SIZE = 200
LIST, IMPORT = [sys.executable, "-m", "fewmask", "settings"], [sys.executable, "-c", "import fewmask.methods"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    table = Table(Path(__file__).parent / "waiting.csv", ("answer", "images"))
    if not table.holds(answer="settings", images=0):
        add(table, 0, args.repeats, {"settings": LIST, "an import of all methods": IMPORT})
    if not table.holds(answer="doctor", images=args.images):
        with tempfile.TemporaryDirectory() as folder:
            write_images(Path(folder), args.images)
            doctor = [sys.executable, "-m", "fewmask", "doctor", folder]
            one = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *doctor]
            add(table, args.images, args.repeats, {"doctor": doctor, "doctor on one core": one})


def add(table: Table, images: int, repeats: int, ways: dict[str, list[str]]) -> None:
    """Times the two ways in turn, and adds a row for each."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name in ways if turn % 2 else reversed(ways):
            begin = time.perf_counter()
            subprocess.run(ways[name], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - begin)
    slow = median(seconds[list(ways)[1]])
    for name, taken in seconds.items():
        row = {"answer": name, "images": images, "seconds": f"{median(taken):.3g}"}
        table.append(row | {"ratio": f"{median(taken) / slow:.2f}"}, "32")
        Console().print(table.rows()[-1])


def write_images(root: Path, count: int) -> None:
    """Photographs and masks of two classes, none like another: smooth noise, and a box that stands out from it."""
    (root / "train" / "images").mkdir(parents=True)
    (root / "train" / "masks").mkdir()
    (root / "dataset.yaml").write_text("names: [ground, box]\n")
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) // 2
        top, left = generator.integers(0, SIZE // 2, 2)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[top : top + SIZE // 3, left : left + SIZE // 3] = 1
        picture = Image.fromarray(pixels + 100 * mask[..., None])
        picture.save(root / "train" / "images" / f"{number:05d}.jpg", quality=90)
        Image.fromarray(mask).save(root / "train" / "masks" / f"{number:05d}.png")


if __name__ == "__main__":
    main()
