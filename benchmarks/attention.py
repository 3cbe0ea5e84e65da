"""How far the class-wise attention narrows down the contrast: in a finished run, and with selectors trained anew.

    python benchmarks/attention.py RUN

The selectors weight what the contrast is made of, so they can make the contrast small by themselves. `rows` and
`pixels` are the effective shares of the bank's rows and of a batch's pixels, as means over the classes: 1 means that
all weigh the same, and 1/n means that one of n has all the weight. `distance` is the contrast with the weights, and
`plain` is the contrast without them.

The first row has the run's own selectors. The others have new selectors, which train while the run's network and bank
stand still. AdamW trains them for the steps that the run had, at shares of the run's rate. SGD trains them as in the
paper (0.9, 5e-4, 2e-4 for 150000 steps), but for a fiftieth of the steps at 50 times the rate. Rows are added to
benchmarks/attention.csv, and a run that is there already is skipped.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from fewmask.data.loader import Draws, StepBatches
from fewmask.methods import ClassBankMethod
from fewmask.methods.parts.pseudo import most_likely
from fewmask.models.contrast_heads import ContrastHeads
from fewmask.ops.contrast import bank_means, effective_share, mean_contrast
from fewmask.ops.groups import membership
from fewmask.run.checkpoint import latest_checkpoint, load_state
from fewmask.run.folder import RunFolder
from fewmask.training.build import build_method
from fewmask.training.prepare import prepare_data
from table import Table

HERE = Path(__file__).parent
BATCHES, IMAGES = 24, 4
SCALE = 50


class Still(NamedTuple):
    """The predictions of a run's network for some batches, and the run's bank."""

    method: ClassBankMethod
    batches: list[tuple[Tensor, Tensor]]  # predictions [n d] and their classes [n]
    steps: int
    rate: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    args = parser.parse_args()
    table = Table(HERE / "attention.csv", ("run", "selectors"))
    for run in args.runs:
        if table.holds(run=run.name, selectors="the run's"):
            continue
        still = stand_still(run)
        table.append({"run": run.name, "selectors": "the run's"} | figures(still, still.method.learner.heads))
        for name, heads in trained_anew(still):
            table.append({"run": run.name, "selectors": name} | figures(still, heads))


@torch.no_grad()
def stand_still(path: Path) -> Still:
    """The method at the end of the run, and its predictions for strong views of unlabeled images."""
    run = RunFolder(path)
    recipe = run.recipe()
    checkpoint = latest_checkpoint(run)
    assert checkpoint is not None
    data = prepare_data(recipe)
    net = recipe.net.model_copy(update={"weights": "none"})
    method = build_method(recipe.model_copy(update={"net": net}), data)
    assert isinstance(method, ClassBankMethod)
    load_state(checkpoint / "method.safetensors", method)
    method.train()
    torch.manual_seed(0)
    drawn = StepBatches(data.labeled, data.unlabeled, Draws(0, 0, data.crop, 1, IMAGES))
    batches = []
    for step in range(BATCHES):
        unlabeled = drawn[step].to(torch.device("cpu")).unlabeled
        assert unlabeled is not None
        output = method.teacher(unlabeled.images)
        view = method._strong_views(unlabeled, most_likely(output.logits, unlabeled.valid))
        rows = method.contrast.rows(method.student, method.student(view.images).features, view.labels)
        classes = len(data.classes)
        projections = method.learner.heads.projector(rows.features, rows.classes, classes)
        batches.append((method.learner.heads.predictor(projections, rows.classes, classes), rows.classes))
    return Still(method, batches, recipe.training.steps, recipe.training.learning_rate or 5e-4)


def trained_anew(still: Still) -> Iterator[tuple[str, ContrastHeads]]:
    """New selectors, trained on the run's predictions and its bank."""
    steps = 150_000 // SCALE
    yield f"sgd 2e-4 x {SCALE}", train(still, steps, lambda p: SGD(p, 2e-4 * SCALE, 0.9, weight_decay=5e-4))
    for share in (1.0, 0.1, 0.01):
        rate = still.rate * share
        yield f"adamw {still.rate:g} x {share:g}", train(still, still.steps, lambda p, rate=rate: AdamW(p, rate))


def train(still: Still, steps: int, build: Callable[[list[nn.Parameter]], Optimizer]) -> ContrastHeads:
    """Trains new selectors with both terms together at weight 0.2 and the poly schedule."""
    torch.manual_seed(1)
    method = still.method
    heads = ContrastHeads(method.tools.num_classes, method.student.feature_dim, method.config.dim)
    optimizer = build([*heads.prediction_selectors.parameters(), *heads.bank_selectors.parameters()])
    (group,) = optimizer.param_groups
    rate = group["lr"]
    for step in range(steps):
        group["lr"] = rate * (1 - step / steps) ** 0.9
        predictions, classes = still.batches[step % BATCHES]
        optimizer.zero_grad()
        loss = 2 * method.config.contrast_weight * distance(method, heads, predictions, classes)
        loss.backward()
        optimizer.step()
    return heads


def distance(method: ClassBankMethod, heads: ContrastHeads, predictions: Tensor, classes: Tensor) -> Tensor:
    """The contrast with the attention of these heads."""
    bank = method.contrast.bank
    target = bank_means(bank.rows, bank.in_use, heads.bank_selectors.of_slots(bank.rows, bank.row_classes))
    return mean_contrast(predictions, classes, target, heads.prediction_selectors(predictions, classes))


@torch.no_grad()
def figures(still: Still, heads: ContrastHeads) -> dict[str, str]:
    """The columns of a row: means over the classes that have rows in the bank, and over the batches."""
    bank = still.method.contrast.bank
    in_use = bank.in_use
    of_rows = heads.bank_selectors.of_slots(bank.rows, bank.row_classes)
    uniform = bank_means(bank.rows, in_use, torch.ones_like(of_rows))
    shares, weighted, plain = [], [], []
    for predictions, classes in still.batches:
        scores = heads.prediction_selectors(predictions, classes)
        member = membership(classes, len(in_use)).bool().T
        share = effective_share(scores.expand_as(member), member)
        shares.append(share[(share > 0) & in_use.any(dim=1)].mean())
        weighted.append(distance(still.method, heads, predictions, classes))
        plain.append(mean_contrast(predictions, classes, uniform, torch.ones_like(scores)))
    rows = effective_share(of_rows, in_use)[in_use.any(dim=1)]
    values = {"rows": rows.mean(), "rows_of_narrowest_class": rows.min(), "pixels": torch.stack(shares).mean()}
    values |= {"distance": torch.stack(weighted).mean(), "plain": torch.stack(plain).mean()}
    return {name: f"{value.item():.4f}" for name, value in values.items()}


if __name__ == "__main__":
    main()
