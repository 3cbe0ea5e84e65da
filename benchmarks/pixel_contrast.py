"""The contrasts of labeled pixels, forward and backward: ours and the direct form with its matrix of all pairs.

    python benchmarks/pixel_contrast.py    # on a GPU where there is one

The inputs are two images and their copies, as maps of size x size pixels with d = 256 in float32; there are 20 classes,
and an eighth of the pixels is ignored. Peak memory is what a call takes beyond its inputs. Rows are added to
benchmarks/pixel_contrast.csv, and rows that are there already are skipped. The direct form is left out if its matrix
has more than `DIRECT_LIMIT` entries.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.contrast import batch_contrast, cross_image_contrast, within_image_contrast
from fewmask.shapes import IGNORE
from measure import median_seconds, peak_mib
from table import Table

HERE = Path(__file__).parent
SIZES = (17, 33, 65, 129)
IMAGES, CLASSES, DIM, TEMPERATURE = 2, 20, 256, 0.07
DIRECT_LIMIT = 2**28
ENTRIES = {"within": 1, "cross": 2, "batch": IMAGES, "released within": 1, "released cross": 4}  # x images x pixels^2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    table = Table(HERE / "pixel_contrast.csv", ("device", "loss", "size"))
    for size in SIZES:
        for loss in ENTRIES:
            key = {"device": args.device, "loss": loss, "size": size}
            if not table.holds(**key):
                table.append(key | measure(loss, size, torch.device(args.device), args.repeats))
                Console().print(table.rows()[-1])


def measure(loss: str, size: int, device: torch.device, repeats: int) -> dict[str, Any]:
    """One row: milliseconds and MiB of both forms, and how much faster ours is."""
    runs = both(loss, size, device, with_direct=ENTRIES[loss] * IMAGES * size**4 <= DIRECT_LIMIT)
    memory = {name: peak_mib(run, device) for name, run in runs.items()}
    seconds = median_seconds(runs, repeats, device)
    row = {f"{name}_{unit}": "" for unit in ("ms", "mib") for name in ("ours", "direct")}
    for name in runs:
        row |= {f"{name}_ms": f"{1000 * seconds[name]:.4g}", f"{name}_mib": f"{memory[name]:.4g}"}
    row["speedup"] = f"{seconds['direct'] / seconds['ours']:.2f}" if "direct" in runs else ""
    return row


def both(loss: str, size: int, device: torch.device, with_direct: bool) -> dict[str, Callable[[], Tensor]]:
    """Both forms on the same inputs, with their values and gradients compared first; or ours alone."""
    torch.manual_seed(0)
    maps = [torch.randn(IMAGES, DIM, size, size, device=device, requires_grad=True) for _ in range(2)]
    labels = torch.randint(0, CLASSES, (IMAGES, size, size), device=device)
    labels[:, : size // 8] = IGNORE
    partners = torch.arange(IMAGES, device=device).roll(1)
    inputs = (*maps, labels, partners)
    values: dict[str, Callable[[], Tensor]] = {"ours": lambda: ours(loss, *inputs)}
    if with_direct:
        values["direct"] = lambda: direct(loss, *inputs)
        torch.testing.assert_close(values["ours"](), values["direct"](), rtol=1e-5, atol=1e-5)
        gradients = (torch.autograd.grad(value(), maps) for value in values.values())
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-8)
    return {name: lambda value=value: torch.autograd.grad(value(), maps)[0] for name, value in values.items()}


def ours(loss: str, features: Tensor, distorted: Tensor, labels: Tensor, partners: Tensor) -> Tensor:
    """Our form of the loss with this name."""
    variant: Literal["paper", "released"] = "released" if loss.startswith("released") else "paper"
    if loss == "batch":
        return batch_contrast(features, distorted, labels, TEMPERATURE)
    if loss.endswith("within"):
        return within_image_contrast(features, distorted, labels, TEMPERATURE, variant)
    return cross_image_contrast(features, distorted, labels, partners, TEMPERATURE, variant)


def direct(loss: str, features: Tensor, distorted: Tensor, labels: Tensor, partners: Tensor) -> Tensor:
    """The direct form of the loss, from whole matrices."""
    images, copies = (F.normalize(maps, dim=1).flatten(2).mT.contiguous() for maps in (features, distorted))
    classes = labels.flatten(1)
    set_classes = torch.cat([classes, classes[partners]], dim=1)
    if loss == "within":
        return direct_paper(images, copies, classes, classes)
    if loss == "cross":
        return direct_paper(images, torch.cat([copies, copies[partners]], dim=1), classes, set_classes)
    if loss == "batch":
        bags = (pixels.flatten(0, 1)[None] for pixels in (images, copies, classes, classes))
        return direct_paper(*bags)
    if loss == "released within":
        return direct_released(images, classes, 1) + direct_released(copies, classes, 1)
    return direct_released(torch.cat([images, copies[partners]], dim=1), set_classes, 2)


def direct_paper(anchors: Tensor, keys: Tensor, classes: Tensor, key_classes: Tensor) -> Tensor:
    """The loss of the paper. The first keys, one for each anchor, are the image's own; the others are its partner's."""
    logits = anchors @ keys.mT / TEMPERATURE
    positive = classes[:, :, None] == key_classes[:, None]
    valid = (key_classes != IGNORE)[:, None]
    own = torch.arange(keys.shape[1], device=keys.device) < anchors.shape[1]
    denominators = logits.masked_fill(~(valid & (own | positive)), -torch.inf).logsumexp(dim=2)
    positives = logits.masked_fill(~positive, 0).sum(dim=2) / positive.sum(dim=2)
    return mean_of_valid(denominators - positives, classes)


def direct_released(pixels: Tensor, classes: Tensor, num_sides: int) -> Tensor:
    """The loss of the released code, on the pixels of one image, or of two images if there are two sides."""
    logits = pixels @ pixels.mT / TEMPERATURE
    positive = classes[:, :, None] == classes[:, None]
    side = torch.arange(num_sides, device=pixels.device).repeat_interleave(pixels.shape[1] // num_sides)
    negative = ~positive & (classes != IGNORE)[:, None] & (side[:, None] == side)
    log_negatives = logits.masked_fill(~negative, -torch.inf).logsumexp(dim=2, keepdim=True)
    terms = F.softplus(log_negatives - logits).masked_fill(~positive, 0).sum(dim=2) / positive.sum(dim=2)
    return mean_of_valid(terms, classes)


def mean_of_valid(values: Tensor, classes: Tensor) -> Tensor:
    """The mean over the anchors of each image, then over the images."""
    valid = classes != IGNORE
    return ((values * valid).sum(dim=1) / valid.sum(dim=1)).mean()


if __name__ == "__main__":
    main()
