"""PixCon: UniMatch V2 with a contrast of rightly predicted labeled pixels with a class bank that has negatives.

PixCon, 2026, https://arxiv.org/abs/2607.03068. The settings are those of the released code (psychofict/PixCon).
The paper's network is DPT over DINOv2 (`net.arch=dpt net.encoder=vit_small_patch14_dinov2.lvd142m`).

Our choices: everything but the contrast is `unimatch_v2` as it is here. The released code draws one mask of channels
for a whole batch and drops channels of the decoder's last features. Rows enter the bank in their drawn order; where a
class has more pixels than the bank has rows, the released code keeps the first ones of the batch.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from fewmask.augment import View
from fewmask.data.batch import Batch
from fewmask.methods.base import Tools
from fewmask.methods.course import Step
from fewmask.methods.parts import weak_to_strong
from fewmask.methods.parts.auto_threshold import of_labels
from fewmask.methods.parts.cells import Cells, as_rows, cells_of
from fewmask.methods.plan import Now
from fewmask.methods.unimatch_v2 import UniMatchV2, UniMatchV2Config
from fewmask.models.bank import ClassBank
from fewmask.models.projection import MapProjector
from fewmask.models.segnet import SegOutput
from fewmask.ops.contrast import contrast_with_all_classes
from fewmask.ops.groups import membership
from fewmask.ops.sampling import draw_rows
from fewmask.ops.unit import unit
from fewmask.shapes import IGNORE, RowClasses, Scalar


class PixConConfig(UniMatchV2Config):
    """Which pixels are anchors, and the bank that they are compared with and enter."""

    name: str = "pixcon"
    contrast_weight: float = Field(0.1, ge=0)
    """Weight of the contrast."""
    anchors: Literal["clean", "labeled", "confident"] = "clean"
    """Which labeled pixels are anchors and enter the bank: those that are predicted right (`clean`), all of them
    (`labeled`), or those whose prediction is sure, as pixels of the predicted class (`confident`)."""
    anchors_per_class: int = Field(64, ge=1)
    """The most anchors of a class in a step."""
    most_anchors: int = Field(1024, ge=1)
    """The most anchors of all classes in a step; more may enter the bank."""
    bank_slots: int = Field(256, ge=1)
    """Number of features of every class that the bank keeps."""
    temperature: float = Field(0.1, gt=0)
    """Similarities are divided by the temperature."""
    dim: int = Field(256, ge=1)
    """Length of the contrasted vectors."""
    contrast_stride: int = Field(4, ge=1)
    """Stride in pixels of the grid on which features are compared; a finer map is sampled."""


class PixCon(UniMatchV2):
    """UniMatch V2, with a contrast between labeled pixels that are predicted right and a bank of all classes."""

    paper = "PixCon, arXiv 2607.03068"
    Config = PixConConfig
    own: ClassVar = weak_to_strong.OWN
    toy: ClassVar = {
        "confidence_threshold": 0.4,
        "teacher_momentum": 0.5,
        "contrast_weight": 0.01,
        "anchors": "labeled",
        "dim": 8,
        "bank_slots": 16,
        "anchors_per_class": 8,
        "most_anchors": 24,
    }
    config: PixConConfig

    def __init__(self, config: PixConConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.head = MapProjector(self.net.feature_dim, config.dim, layers=2, batchnorm=True)
        self.bank = ClassBank(tools.num_classes, config.bank_slots, config.dim)

    def replicated_buffers(self) -> list[str]:
        return [f"bank.{name}" for name, _ in self.bank.named_buffers()]

    def step(self, batch: Batch, now: Now) -> Step:
        (losses, watch), labeled, output = self.consistency(batch)
        if self.config.contrast_weight > 0:
            losses["contrast"] = self.config.contrast_weight * self._contrast(output, labeled)
            watch["bank_filled"] = self.bank.filled / self.config.bank_slots
        return Step(losses, watch)

    def _contrast(self, output: SegOutput, labeled: View) -> Scalar:
        """The contrast of the anchors with the bank, which takes them afterwards, as in the released code."""
        config, num_classes = self.config, self.tools.num_classes
        cells = cells_of(self.net, output.features, labeled.labels, config.contrast_stride)
        rows = as_rows(self.head(cells.features))
        drawn = draw_rows(
            membership(self._anchor_classes(cells), num_classes).bool(),
            min(config.anchors_per_class, config.bank_slots),
        )
        chosen = draw_rows(drawn.found.flatten()[:, None], config.most_anchors)
        classes = torch.arange(num_classes, device=rows.device).repeat_interleave(drawn.rows.shape[1])
        classes = classes[chosen.rows[0]].masked_fill(~chosen.found[0], IGNORE)
        anchors = rows[drawn.rows.flatten()[chosen.rows[0]]]
        loss = contrast_with_all_classes(anchors, classes, self.bank.rows, self.bank.in_use, config.temperature)
        self.bank.append(unit(rows[drawn.rows].detach()), drawn.found)
        return loss

    def _anchor_classes(self, cells: Cells) -> RowClasses:
        """The class of each cell as an anchor; IGNORE where it is none."""
        confidence, predicted = cells.probabilities.max(dim=1)
        if self.config.anchors == "confident":
            sure = (confidence >= of_labels(self.current_threshold(), predicted)) & (cells.classes != IGNORE)
            return predicted.masked_fill(~sure, IGNORE)
        if self.config.anchors == "labeled":
            return cells.classes
        return cells.classes.masked_fill(predicted != cells.classes, IGNORE)
