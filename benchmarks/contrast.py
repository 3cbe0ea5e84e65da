"""The contrast with the bank, forward and backward: ours and its literal twin, for several sizes n and m.

    python benchmarks/contrast.py    # on a GPU where there is one; plots.py draws the curves

n student vectors of k = 19 classes meet m bank rows per class, with d = 256, in float32; the paper's n is 9 maps of
64 x 64. Peak memory is what a call takes beyond its inputs. Rows are added to benchmarks/contrast.csv, and rows that
are there already are skipped. Beyond 1,024 rows at the paper's n the twin takes long and is left out.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from fewmask.ops.contrast import bank_contrast
from measure import median_seconds, peak_mib
from table import Table
from twin import twin_contrast

HERE = Path(__file__).parent
PAPER = (36_864, 256)
OVER_ROWS = [(n, 256) for n in (2_304, 9_216, 36_864, 147_456)]
OVER_SLOTS = [(36_864, m) for m in (256, 1_024, 4_096, 16_384, 65_536)]
CLASSES, DIM = 19, 256
TWIN_LIMIT = 36_864 * 1_024  # pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    table = Table(HERE / "contrast.csv", ("device", "n", "m"))
    for n, m in dict.fromkeys([PAPER, *OVER_ROWS, *OVER_SLOTS]):
        key = {"device": args.device, "n": n, "m": m}
        if not table.holds(**key):
            table.append(key | measure(n, m, torch.device(args.device), args.repeats))
            Console().print(table.rows()[-1])


def measure(n: int, m: int, device: torch.device, repeats: int) -> dict[str, Any]:
    """One row: seconds and MiB of both implementations, and the ratios."""
    runs = both(n, m, device)
    if n * m > TWIN_LIMIT:
        del runs["twin"]
    memory = {name: peak_mib(run, device) for name, run in runs.items()}
    seconds = median_seconds(runs, repeats, device)
    row = {f"{name}_{unit}": "" for unit in ("ms", "mib") for name in ("ours", "twin")}
    for name in runs:
        row |= {f"{name}_ms": f"{1000 * seconds[name]:.4g}", f"{name}_mib": f"{memory[name]:.4g}"}
    row["speedup"] = f"{seconds['twin'] / seconds['ours']:.2f}" if "twin" in runs else ""
    return row


def both(n: int, m: int, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Both implementations on the same inputs; their values and gradients are compared first."""
    torch.manual_seed(0)
    predictions = torch.randn(n, DIM, device=device, requires_grad=True)
    share = 1 / torch.arange(1, CLASSES + 1, dtype=torch.float64)  # few classes are frequent, many are rare
    classes = torch.multinomial(share, n, replacement=True).to(device)
    bank = torch.randn(CLASSES, m, DIM, device=device)
    filled = torch.full((CLASSES,), m, device=device)
    weights = torch.rand(n, device=device, requires_grad=True)
    bank_weights = torch.rand(CLASSES, m, device=device, requires_grad=True)
    arrays = [rows.cpu().numpy() for rows in bank]
    inputs = (predictions, weights, bank_weights)

    def ours() -> Tensor:
        return bank_contrast(predictions, classes, bank, filled, weights, bank_weights)

    def twin() -> Tensor:
        return twin_contrast(predictions, classes, arrays, weights, list(bank_weights))

    if n * m <= TWIN_LIMIT:
        for one, other in zip(torch.autograd.grad(ours(), inputs), torch.autograd.grad(twin(), inputs), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-9)
    return {
        "ours": lambda: torch.autograd.grad(ours(), inputs)[0],
        "twin": lambda: torch.autograd.grad(twin(), inputs)[0],
    }


if __name__ == "__main__":
    main()
