"""Label-based pixel contrast on the few masks, then fine-tuning; a second round of both may add pseudo-labels.

Zhao et al., Contrastive Learning for Label Efficient Semantic Segmentation, ICCV 2021.
"""

from typing import Any, ClassVar

import torch

from fewmask.data.batch import Batch, Labeled
from fewmask.data.pool import Pool
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.pretraining import STAGE, ContrastConfig, Pretraining
from fewmask.methods.plan import Now, Stage
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.frequency import ClassFrequency
from fewmask.models.teacher import Teacher
from fewmask.shapes import IGNORE

AGAIN = "_again"


class LabelContrastConfig(SupervisedConfig):
    """The contrast, and whether the unlabeled images are labeled by the fine-tuned network for a second round."""

    name: str = "label_contrast"
    contrast: ContrastConfig = ContrastConfig()
    """The same settings as in the block `pretrain` of other methods."""
    pseudo_labels: bool = False
    """Whether the second half of the run repeats the first on labels and pseudo-labels."""


class LabelContrast(Supervised):
    """Contrastive pre-training, then cross-entropy, on the labeled images; an optional second round takes all images.

    The second round goes on from the network of the first round. Its pseudo-labels are the argmax of the network at the
    end of the first round, for every pixel, and are made anew for every crop.
    """

    paper = "Zhao et al., ICCV 2021"
    Config = LabelContrastConfig
    toy: ClassVar = {"pseudo_labels": True, "contrast": {"dim": 16}}
    config: LabelContrastConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(unlabeled=config.pseudo_labels, without_unlabeled="leave out method.pseudo_labels")

    @classmethod
    def advantage(cls, config: Any) -> str:
        return cls.name  # the contrast needs labeled images alone

    def __init__(self, config: LabelContrastConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.pretraining = Pretraining(config.contrast, self.net.feature_dim, tools.num_classes)
        self.labeler = Teacher(self.net) if config.pseudo_labels else None
        if config.pseudo_labels:
            self.shares = ClassFrequency(tools.num_classes, tools.num_labeled, tools.num_unlabeled, tools.accumulate)

    def stages(self) -> tuple[Stage, ...]:
        config = self.config.contrast
        rounds = ("", AGAIN) if self.config.pseudo_labels else ("",)
        one = (Stage(STAGE, config.share, pretrains=True), Stage("train", 1 - config.share, config.finetune_rate))
        return tuple(
            stage._replace(name=stage.name + which, share=stage.share / len(rounds))
            for which in rounds
            for stage in one
        )

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()] if self.config.pseudo_labels else []

    def step(self, batch: Batch, now: Now) -> Step:
        watch = {}
        if now.stage.endswith(AGAIN):
            pseudo = self._pseudo_labeled(batch)
            self.shares.observe(batch.labeled.labels)
            watch[EXCESS] = excess_of(pseudo.labels, self.shares)
            batch = _among_labeled(batch, pseudo)
        if now.stage.startswith(STAGE):
            return Step({"contrast": self.pretraining(self.net, batch.domains)}, watch)
        return super().step(batch, now)._replace(watch=watch)

    def begin(self, stage: Stage, pool: Pool) -> None:
        if self.labeler is not None and stage.name == STAGE + AGAIN:
            self.labeler.follow(self.net, momentum=0.0)

    @torch.no_grad()
    def _pseudo_labeled(self, batch: Batch) -> Labeled:
        """The unlabeled images with their pseudo-labels."""
        assert self.labeler is not None
        assert batch.unlabeled is not None
        images, valid = batch.unlabeled
        return Labeled(images, self.labeler.network(images).logits.argmax(dim=1).masked_fill(~valid, IGNORE))


def _among_labeled(batch: Batch, pseudo: Labeled) -> Batch:
    """The batch with the pseudo-labeled images among the labeled images of the target."""
    parts = (batch.target, pseudo, batch.source)
    return Batch(Labeled(*(torch.cat(maps) for maps in zip(*parts, strict=True))), None, batch.num_source)
