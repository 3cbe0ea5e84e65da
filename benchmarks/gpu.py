"""Steps one operation at a time, captured, compiled, and both, side by side in one process, and fed from RAM.

    python benchmarks/gpu.py                 # as benchmarks/gpu.sh runs it on a GPU
    python benchmarks/gpu.py --dry --out X   # tiny, on any device, into the folder X

A case is a network, a batch of so many labeled and as many unlabeled images, a method and a precision. Images are
colored noise, and a bank is full of random rows. The modes of a case take turns in one process. `class_bank_bare` is
class_bank without its contrast, so that the share of the contrast follows by difference. `times_eager` is how many
times as fast as the eager mode beside it a step is. `fed_ms` is a step together with the reading of its batch from
pictures in RAM. `kernels` and `kernels_ms` are those of one step, from the profiler. Rows are added to gpu_steps.csv,
and cases whose rows are there are skipped. No case begins after --seconds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from fewmask.data.batch import Batch
from fewmask.methods import ClassBankMethod, Step
from fewmask.recipe import Recipe, make_recipe
from fewmask.run.checkpoint import Position
from fewmask.training.batches import reading
from fewmask.training.build import build_method
from fewmask.training.capture import WARM_UP, CapturedSteps
from fewmask.training.compiled import compile_networks
from fewmask.training.device import fit_to_device, launch_fabric, loss_scaler
from fewmask.training.optimizers import build_optimizers
from fewmask.training.prepare import TrainingData, prepare_data
from fewmask.training.trainer import Trainer
from measure import median_seconds, num_operations, peak_mib
from step import NETS, write_noise
from table import Table

HERE = Path(__file__).parent
KEYS = ("device", "net", "batch", "method", "precision", "mode")
TINY: dict[str, Any] = {
    "net": {"arch": "unet", "encoder": "test_resnet", "options": {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}},
    "size": (32, 48),
    "classes": 4,
}
FAST, ALL = ("eager", "captured"), ("eager", "captured", "compiled", "compiled_captured")


class Case(NamedTuple):
    """What is measured side by side."""

    net: str
    batch: int
    method: str
    precision: str
    modes: tuple[str, ...]


CASES = [
    *(Case("mobilenet", 2, method, "bf16", FAST) for method in ("class_bank", "supervised", "class_bank_bare")),
    *(Case("r101", 1, method, "bf16", FAST) for method in ("class_bank", "class_bank_bare", "supervised")),
    *(Case("r101", 5, method, "bf16", FAST) for method in ("class_bank", "class_bank_bare", "supervised")),
    Case("mobilenet", 2, "supervised", "bf16", ALL),
    *(Case("mobilenet", 2, method, "32", FAST) for method in ("class_bank", "supervised")),
    *(Case("r101", batch, method, "32", FAST) for batch in (1, 5) for method in ("class_bank", "supervised")),
    *(Case("mobilenet", batch, "class_bank", "bf16", FAST) for batch in (1, 4, 8, 16)),
    Case("mobilenet", 2, "class_bank", "bf16", ALL),
    Case("r101", 5, "class_bank", "bf16", ALL),
]
"""In the order of their worth."""

DRY = [Case("tiny", 2, "class_bank", "32", FAST), Case("tiny", 2, "supervised", "32", ALL)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="tiny cases on any device")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder of gpu_steps.csv")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=240.0, help="no case begins later than this")
    args = parser.parse_args()
    NETS["tiny"] = TINY
    table, end = Table(args.out / "gpu_steps.csv", KEYS), time.monotonic() + args.seconds
    for case in DRY if args.dry else CASES:
        key = {"device": "cuda" if torch.cuda.is_available() else "cpu"} | case._asdict()
        modes = tuple(mode for mode in case.modes if not table.holds(**key | {"mode": mode}))
        if not modes:
            continue
        if time.monotonic() > end:
            print(f"No time is left for {case}.")
            continue
        begin = time.monotonic()
        for row in measure(case._replace(modes=modes), args.repeats, args.dry):
            table.append(row, case.precision)
            Console(width=160).print({name: row[name] for name in (*KEYS, "ms", "busy_share", "fed_ms", "note")})
        print(f"{case} took {time.monotonic() - begin:.0f} s.", flush=True)


def measure(case: Case, repeats: int, dry: bool) -> Iterator[dict[str, Any]]:
    """A row for every mode of the case; the eager mode runs beside them in any case."""
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder), NETS[case.net]["size"], NETS[case.net]["classes"])
        recipe = recipe_of(case, folder)
        data, fabric = prepare_data(recipe), launch_fabric(recipe.training)
        runs = {mode: Taking(recipe, data, fabric, mode, dry) for mode in dict.fromkeys(("eager", *case.modes))}
        with reading(data, recipe.training, Position(0, 0), 100_000, fabric) as batches:
            batch = next(batches).to(fabric.device)
            for run in runs.values():
                for _ in range(WARM_UP + 2):
                    run.step(batch)
            seconds = median_seconds(
                {mode: partial(run.step, batch) for mode, run in runs.items()}, repeats, fabric.device
            )
            fed = median_seconds(
                {mode: partial(run.fed_step, batches) for mode, run in runs.items()},
                max(1, repeats // 2),
                fabric.device,
            )
            for mode in case.modes:
                run = runs[mode]
                kernels, kernel_seconds = kernels_of(partial(run.step, batch))
                images = 2 * case.batch if recipe.needs.unlabeled else case.batch
                yield {
                    "device": fabric.device.type,
                    **{name: getattr(case, name) for name in KEYS[1:-1]},
                    "mode": mode,
                    "ms": f"{1000 * seconds[mode]:.4g}",
                    "times_eager": f"{seconds['eager'] / seconds[mode]:.3g}",
                    "fed_ms": f"{1000 * fed[mode]:.4g}",
                    "images_per_second": f"{images / fed[mode]:.4g}",
                    "operations": num_operations(partial(run.step, batch)) if mode == "eager" else "",
                    "kernels": kernels or "",
                    "kernels_ms": f"{1000 * kernel_seconds:.4g}" if kernels else "",
                    "busy_share": f"{kernel_seconds / seconds[mode]:.3f}" if kernels else "",
                    "mib": "" if "captured" in mode else f"{peak_mib(partial(run.step, batch), fabric.device):.4g}",
                    "note": run.note,
                }


def recipe_of(case: Case, folder: str) -> Recipe:
    """The recipe of a case on noise, which stays in RAM."""
    name = case.method.removesuffix("_bare")
    method: dict[str, Any] = {"name": name}
    if name == "class_bank":
        method |= {"quality_threshold": 0.0} | ({"contrast_weight": 0.0} if case.method != name else {})
    return make_recipe(
        {
            "data": {"root": folder, "labels": 4, "cache": True},
            "net": NETS[case.net]["net"] | {"weights": "none"},
            "method": method,
            "training": {"labeled_batch": case.batch, "precision": case.precision},
        }
    )


class Taking:
    """Takes the same late step of a training again and again, in one of the modes.

    Attributes:
        note: what captured steps told, if they did.
    """

    def __init__(self, recipe: Recipe, data: TrainingData, fabric: Any, mode: str, dry: bool) -> None:
        captures, compiles = "captured" in mode, "compiled" in mode
        method = build_method(recipe, data).train()
        optimizers = build_optimizers(method.parameter_groups(), recipe.training, fabric.device if captures else None)
        fit_to_device(method, fabric)
        trainer = Trainer(method, optimizers, recipe.training, fabric, scaler=loss_scaler(fabric))
        if isinstance(method, ClassBankMethod):
            bank = method.contrast.bank
            bank.rows.normal_()
            bank.filled.fill_(bank.rows.shape[1])
        if compiles:
            compile_networks(method, **({"backend": "eager"} if dry else {}))
        self.note = ""
        take: Callable[..., Step] = trainer.step
        if captures:
            graph = None if fabric.device.type == "cuda" else _Rerun
            take = CapturedSteps(trainer, self._tell, graph, rehearse=not compiles)
        self._take, self._now, self._device = take, method.now(500, 1000), fabric.device

    def step(self, batch: Batch) -> None:
        """Takes the step."""
        self._take(self._now, batch)

    def fed_step(self, batches: Iterator[Batch]) -> None:
        """Reads a batch and takes the step."""
        self.step(next(batches).to(self._device))

    def _tell(self, line: str) -> None:
        self.note = line


class _Rerun:
    """Stands in for a CUDA graph where there is no GPU, so that a dry run goes the same way."""

    def __init__(self) -> None:
        self._step: Callable[[], Step] | None = None

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        yield

    def record(self, step: Callable[[], Step]) -> Step:
        self._step = step
        return step()

    def replay(self) -> None:
        assert self._step is not None
        self._step()

    def drop(self) -> None:
        self._step = None


def kernels_of(run: Callable[[], object], steps: int = 3) -> tuple[int, float]:
    """How many kernels and copies a run starts on the GPU, and the sum of their seconds; zeros without a GPU."""
    if not torch.cuda.is_available():
        return 0, 0.0
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        for _ in range(steps):
            run()
        torch.cuda.synchronize()
    on_gpu = [event for event in record.events() if event.device_type.name == "CUDA"]
    kernels = [event for event in on_gpu if not getattr(event, "is_user_annotation", False)]
    return len(kernels) // steps, sum(event.time_range.elapsed_us() for event in kernels) / steps / 1e6


if __name__ == "__main__":
    main()
