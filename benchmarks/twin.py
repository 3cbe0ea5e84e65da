"""The contrastive branch as the paper reads: loops over classes, all pairs, and the bank as arrays on the CPU.

The source is Alonso et al., ICCV 2021, Eq. 8 to 11 and sections 3.4 and 4.2. The branch computes what `fewmask`
computes, with the same parameters, and the benchmarks compare both.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fewmask.methods import ClassBankMethod, Now
from fewmask.methods.parts.bank_contrast import BankContrast, Contrasted
from fewmask.methods.parts.learner import Learner
from fewmask.models.contrast_heads import ContrastHeads
from fewmask.models.heads import ClassSelectors
from fewmask.models.segnet import SegOutput
from fewmask.shapes import IGNORE, Labels

Arrays = list[NDArray[np.float32]]


def twin_contrast(
    predictions: Tensor, classes: Tensor, bank: Arrays, prediction_weights: Tensor, bank_weights: list[Tensor]
) -> Tensor:
    """The double sum over all pairs of a class, from the matrix of their distances."""
    loss = predictions.new_zeros(())
    for label, array in enumerate(bank):
        own = classes == label
        if len(array) == 0 or own.sum().item() == 0:
            continue
        rows, weights = predictions[own].float(), prediction_weights[own].float()
        slots = torch.from_numpy(array).to(predictions.device)
        similarity = F.normalize(rows, dim=1) @ F.normalize(slots, dim=1).T
        row_weights = len(rows) * weights / weights.sum()
        slot_weights = len(slots) * bank_weights[label] / bank_weights[label].sum()
        loss = loss + (row_weights[:, None] * slot_weights[None] * (1 - similarity)).mean()
    return loss / len(bank)


def twin_scores(selectors: ClassSelectors, label: int, rows: Tensor) -> Tensor:
    """The scores of one class's selector for the rows of that class."""
    norm = selectors.norm
    hidden = F.linear(rows, selectors.hidden_weight[label], selectors.hidden_bias[label])
    if len(rows) > 1:
        mean, variance = (norm.running_mean[label], norm.running_var[label])
        hidden = F.batch_norm(
            hidden, mean, variance, norm.weight[label], norm.bias[label], norm.training, norm.momentum, norm.eps
        )
    out = F.leaky_relu(hidden, 0.2).float() @ selectors.out_weight[label] + selectors.out_bias[label]
    return torch.sigmoid(out.float())


class TwinContrast(BankContrast):
    """The contrastive branch, written plainly."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.arrays: Arrays = [np.zeros((0, self.config.dim), np.float32) for _ in range(self.tools.num_classes)]

    @torch.no_grad()
    def fill(self, learner: Learner[ContrastHeads], output: SegOutput, labels: Labels) -> None:
        heads = learner.heads
        confidence, prediction = output.logits.float().softmax(dim=1).max(dim=1)
        good = (prediction == labels) & (confidence > self.config.quality_threshold)
        rows = self.rows(learner.net, output.features, labels.masked_fill(~good, IGNORE))
        known = rows.classes < self.tools.num_classes
        projections = heads.projector(rows.features, rows.classes, self.tools.num_classes)[known]
        classes, images = rows.classes[known], rows.images[known]
        per_image = max(1, round(self.config.bank_slots / self.tools.num_labeled))
        for label in range(self.tools.num_classes):
            for image in range(len(labels)):
                own = projections[(classes == label) & (images == image)]
                if len(own) == 0:
                    continue
                scores = twin_scores(heads.bank_selectors, label, own)
                best = own[scores.argsort(descending=True)[:per_image]].float().cpu().numpy()
                self.arrays[label] = np.concatenate([self.arrays[label], best])[-self.config.bank_slots :]

    def target(self, learner: Learner[ContrastHeads], now: Now) -> tuple[list[Tensor], Tensor]:  # type: ignore[override]
        device = self.bank.rows.device
        scores = [
            twin_scores(learner.heads.bank_selectors, label, torch.from_numpy(array).to(device))
            for label, array in enumerate(self.arrays)
        ]
        return scores, torch.zeros(len(scores), device=device)

    def forward(  # type: ignore[override]
        self, learner: Learner[ContrastHeads], output: SegOutput, labels: Labels, target: list[Tensor]
    ) -> Contrasted:
        heads = learner.heads
        rows = self.rows(learner.net, output.features, labels)
        projections = heads.projector(rows.features, rows.classes, self.tools.num_classes)
        predictions = heads.predictor(projections, rows.classes, self.tools.num_classes)
        weights = torch.zeros(len(predictions), device=predictions.device)
        for label in range(self.tools.num_classes):
            own = rows.classes == label
            if own.sum().item() > 0:
                weights[own] = twin_scores(heads.prediction_selectors, label, predictions[own])
        loss = twin_contrast(predictions, rows.classes, self.arrays, weights, target)
        return Contrasted(loss, torch.zeros(4, len(self.arrays), device=loss.device))  # the twin watches nothing


class TwinClassBank(ClassBankMethod):
    """`class_bank` with the plain contrastive branch."""

    contrast: TwinContrast

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.contrast = TwinContrast(self.config, self.tools)
