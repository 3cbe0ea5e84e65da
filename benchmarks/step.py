"""A whole step of class_bank, its parts, and the same step with the contrastive branch written plainly.

    python benchmarks/step.py                          # DeepLabv2, ResNet-101, 512 x 512, 19 classes, as in the paper
    python benchmarks/step.py --net mobilenet          # DeepLabv3+, MobileNetV2, 176 x 240, 11 classes, as CamVid here

One labeled and one unlabeled image are the unit of the paper's count; `--batch 2` doubles both. Images are colored
noise and the bank is full of random rows, with which a step takes as long as with real ones. `ours`, `twin` and
`without` (no contrast) alternate in one process, and their operations are counted. The parts are timed within a step.

The time of the contrastive branch (heads, selectors, bank and loss) is forward and backward together. Its gradient
stops at the features, and the network's own backward goes on from there in every case. Only the difference to `without`
holds the teacher's pass over the bank's images, because the teacher reads them along with the unlabeled images. Rows
are added to benchmarks/step.csv.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from rich.console import Console
from torch import Tensor

from fewmask.data.batch import Batch
from fewmask.methods import ClassBankMethod, Method, class_bank
from fewmask.methods.parts.bank_contrast import Contrasted
from fewmask.recipe import Recipe, make_recipe
from fewmask.run.checkpoint import Position
from fewmask.training.batches import reading
from fewmask.training.device import fit_to_device, launch_fabric, loss_scaler
from fewmask.training.optimizers import build_optimizers
from fewmask.training.prepare import TrainingData, prepare_data
from fewmask.training.trainer import Trainer
from measure import clock, median_seconds, num_operations, peak_mib
from table import Table
from twin import TwinClassBank

HERE = Path(__file__).parent
NETS: dict[str, dict[str, Any]] = {
    "r101": {"net": {"arch": "deeplabv2", "encoder": "resnet101"}, "size": (512, 512), "classes": 19},
    "mobilenet": {"net": {"arch": "deeplabv3plus", "encoder": "mobilenetv2_100"}, "size": (176, 240), "classes": 11},
}
PARTS = ("data", "teacher", "augmentation", "student", "losses", "contrast", "backward", "update")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=NETS, default="r101")
    parser.add_argument("--batch", type=int, default=1, help="labeled images, and as many unlabeled ones")
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--precision", choices=("bf16", "32"), default="bf16")
    args = parser.parse_args()
    table = Table(HERE / "step.csv", ("device", "net", "batch", "slots", "precision"))
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder), NETS[args.net]["size"], NETS[args.net]["classes"])
        recipe = make_recipe(
            {
                "data": {"root": folder, "labels": 4},
                "net": NETS[args.net]["net"] | {"weights": "none"},
                "method": {"name": "class_bank", "bank_slots": args.slots, "quality_threshold": 0.0},
                "training": {"labeled_batch": args.batch, "precision": args.precision},
            }
        )
        data = prepare_data(recipe)
        fabric = launch_fabric(recipe.training)
        key = {"device": fabric.device.type, "net": args.net, "batch": args.batch, "slots": args.slots}
        key["precision"] = args.precision
        if table.holds(**key):
            return
        table.append(key | measure(recipe, data, fabric, args.repeats), args.precision)
        Console().print(table.rows()[-1])


def measure(recipe: Recipe, data: TrainingData, fabric: Fabric, repeats: int) -> dict[str, Any]:
    """One row: milliseconds of a step in each form, peak memory, operations, and shares of the parts."""
    with reading(data, recipe.training, Position(0, 0), 10_000, fabric) as batches:
        batch = next(batches).to(fabric.device)
        without = recipe.method.model_copy(update={"contrast_weight": 0.0})
        trainers = {
            "ours": LateTrainer(ClassBankMethod, recipe, data, fabric),
            "twin": LateTrainer(TwinClassBank, recipe, data, fabric),
            "without": LateTrainer(ClassBankMethod, recipe.model_copy(update={"method": without}), data, fabric),
        }
        memory = {name: peak_mib(lambda t=trainer: t.late(batch), fabric.device) for name, trainer in trainers.items()}
        seconds = median_seconds(
            {name: lambda t=trainer: t.late(batch) for name, trainer in trainers.items()}, repeats, fabric.device
        )
        row = {f"{name}_ms": f"{1000 * value:.4g}" for name, value in seconds.items()}
        row |= {f"{name}_mib": f"{value:.4g}" for name, value in memory.items()}
        row |= {
            f"{name}_operations": num_operations(lambda t=trainer: t.late(batch)) for name, trainer in trainers.items()
        }
        for name in ("ours", "twin"):
            parts = part_seconds(trainers[name], batches, fabric.device, repeats)
            whole = sum(parts.values())
            row |= {f"{name}_{part}_share": f"{parts[part] / whole:.4f}" for part in PARTS}
    return row


class LateTrainer(Trainer):
    """A trainer that takes the same late step again and again; a bank is full of random rows."""

    def __init__(self, kind: type[Method], recipe: Recipe, data: TrainingData, fabric: Fabric) -> None:
        torch.manual_seed(0)
        method = kind(recipe.method, data.tools(recipe)).train()  # type: ignore[call-arg, arg-type]
        optimizers = build_optimizers(method.parameter_groups(), recipe.training)
        fit_to_device(method, fabric)
        super().__init__(method, optimizers, recipe.training, fabric, scaler=loss_scaler(fabric))
        if isinstance(self.method, ClassBankMethod):
            bank = self.method.contrast.bank
            bank.rows.normal_()
            bank.filled.fill_(bank.rows.shape[1])
        if isinstance(self.method, TwinClassBank):
            self.method.contrast.arrays = [rows.cpu().numpy() for rows in bank.rows]

    def late(self, batch: Batch) -> None:
        """Takes a step in the middle of a run."""
        self.step(self.method.now(500, 1000), batch)


def part_seconds(
    trainer: LateTrainer, batches: Iterator[Batch], device: torch.device, repeats: int
) -> dict[str, float]:
    """Median seconds of each part of a step; time in an inner part counts for the inner part alone."""
    watch = Stopwatch(device)
    taken: dict[str, list[float]] = defaultdict(list)
    with watching(trainer, watch):
        for _ in range(repeats + 1):
            watch.start()
            batch = watch.timed("data", lambda: next(batches).to(device))()
            watch.timed("losses", trainer.late)(batch)
            for part, seconds in watch.stop().items():
                taken[part].append(seconds)
    return {part: median(taken[part][1:]) for part in PARTS}


@contextmanager
def watching(trainer: LateTrainer, watch: "Stopwatch") -> Iterator[None]:
    """Puts the stopwatch around the parts of a trainer's step."""
    method, augment = trainer.method, vars(class_bank)["augment"]
    assert isinstance(method, ClassBankMethod)
    method.teacher.forward = watch.timed("teacher", method.teacher.forward)  # type: ignore[method-assign]
    method.student.forward = watch.timed("student", method.student.forward)  # type: ignore[method-assign]
    for part, name in ((method, "_fill_bank"), (method.contrast, "target")):
        setattr(part, name, watch.timed("contrast", getattr(part, name)))
    method.contrast.forward = watch.timed("contrast", _with_own_backward(method))  # type: ignore[method-assign]
    fabric, backward = trainer.fabric, trainer.fabric.backward
    fabric.backward = watch.timed("backward", backward)
    for owner, name in ((trainer, "_update"), (method, "close")):
        setattr(owner, name, watch.timed("update", getattr(owner, name)))
    vars(class_bank)["augment"] = watch.timed("augmentation", augment)
    try:
        yield
    finally:
        vars(class_bank)["augment"] = augment
        fabric.backward = backward


def _with_own_backward(method: ClassBankMethod) -> Callable[..., Contrasted]:
    """The contrast with its backward down to the features, once for the labeled and the unlabeled term together."""
    contrast, waiting = method.contrast.forward, []
    trained = [parameter for parameter in method.learner.heads.parameters() if parameter.requires_grad]

    def run(learner: Any, output: Any, labels: Tensor, target: Any) -> Contrasted:
        features = output.features.detach().requires_grad_()
        contrasted = contrast(learner, output._replace(features=features), labels, target)
        waiting.append((contrasted.loss, features))
        if len(waiting) == 2:
            total = waiting[0][0] + waiting[1][0]
            torch.autograd.grad(total, [*trained, *(leaf for _, leaf in waiting)], allow_unused=True)
            waiting.clear()
        return contrasted._replace(loss=contrasted.loss.detach())

    return run


class Stopwatch:
    """Measures nested parts; time in an inner part is not counted for the outer part."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def start(self) -> None:
        """Begins a new step, outside all parts."""
        self.active = ["losses"]
        self.marks = [("losses", clock(self.device))]

    def timed(self, part: str, run: Callable[..., Any]) -> Callable[..., Any]:
        """`run`, with its time counted for `part`."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.active[-1] == "contrast":  # the contrast counts with everything that it calls
                return run(*args, **kwargs)
            self.active.append(part)
            self.marks.append((part, clock(self.device)))
            try:
                return run(*args, **kwargs)
            finally:
                self.active.pop()
                self.marks.append((self.active[-1], clock(self.device)))

        return watched

    def stop(self) -> dict[str, float]:
        """Seconds for each part since the start."""
        self.marks.append(("", clock(self.device)))
        seconds: dict[str, float] = defaultdict(float)
        for (part, begin), (_, end) in zip(self.marks, self.marks[1:], strict=False):
            seconds[part] += end.since(begin)
        return seconds


def write_noise(root: Path, size: tuple[int, int], num_classes: int) -> None:
    """Writes a dataset of random patches of every class."""
    generator = np.random.default_rng(0)
    height, width = size
    (root / "train" / "images").mkdir(parents=True)
    (root / "train" / "masks").mkdir(parents=True)
    for index in range(16):
        patches = generator.integers(0, num_classes, (8, 8)).astype(np.uint8)
        labels = patches.repeat(-(-height // 8), axis=0).repeat(-(-width // 8), axis=1)[:height, :width]
        noise = generator.integers(0, 100, (height, width, 3))
        image = (labels[..., None] * (150 // num_classes) + noise).astype(np.uint8)
        Image.fromarray(image).save(root / "train" / "images" / f"{index:02}.png")
        Image.fromarray(labels).save(root / "train" / "masks" / f"{index:02}.png")
    (root / "classes.txt").write_text("".join(f"{index} class{index}\n" for index in range(num_classes)))


if __name__ == "__main__":
    main()
