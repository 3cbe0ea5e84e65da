"""Self-training in rounds that label ever more of the pool, class by class, and weight pseudo-labels by probability.

Feng, Zhou, Cheng, Tan, Shi and Ma, Semi-Supervised Semantic Segmentation via Dynamic Self-Training and Class-Balanced
Curriculum (CBC, or DST-CBC), 2020, https://arxiv.org/abs/2004.08514v1. The released code (voldemortX/DST-CBC, branch
dst-cbc) resizes images before it crops them, which its authors later called a mistake; here views are scaled as `weak`
says.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from fewmask.augment import View
from fewmask.data.batch import Batch, Unlabeled
from fewmask.data.pool import Pool
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.parts.collapse import collapse_alarm
from fewmask.methods.parts.own_views import own_views
from fewmask.methods.parts.rounds import learn_in_round, pool_thresholds
from fewmask.methods.plan import Now, Stage
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.teacher import Teacher
from fewmask.ops.self_training import normalized_pseudo_labels, probability_of
from fewmask.shapes import Confidence, Labels, Logits


class CBCConfig(SupervisedConfig):
    """The rounds, and how fast the weight of a pseudo-label falls with its probability."""

    name: str = "cbc"
    class_balance: bool = False
    """Weights the classes of labeled pixels, as in supervised training; the original weights no class."""
    num_rounds: int = Field(5, ge=1, le=1000)
    """Round r labels the share r / num_rounds of the pixels of every class, the last one everything."""
    first_share: float = Field(1 / 3, gt=0, lt=1)
    """Share of the run's steps that are supervised; the rounds share the rest evenly. The paper counts epochs."""
    gamma: float = Field(9.0, ge=0)
    """A pseudo-label counts with its probability to this power. 9 is from the released scripts for VOC; the value for
    Cityscapes is not known."""
    sample_every: int = Field(16, ge=1)
    """The thresholds are found from one in this many pixels."""


class CBC(Supervised):
    """Supervised training, then rounds on labels and on pseudo-labels of the network as it was before the round.

    The network goes on from round to round. Differences from the released code: a copy of the network labels crops as
    they are drawn, before they are augmented, while the original labels every image once at its small training size.
    The views are the harness's weak ones. A round starts from the last weights, not from the best on val. The batch is
    the recipe's, while half of the original's batch is labeled.
    """

    paper = "Feng et al., arXiv 2004.08514v1"
    Config = CBCConfig
    own: ClassVar = {"weak": own_views(scale_range=(1.0, 2.0))}  # the authors later call this a bug
    toy: ClassVar = {"sample_every": 1}
    config: CBCConfig
    thresholds: Tensor

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs()

    def __init__(self, config: CBCConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.labeler = Teacher(self.net)
        self.register_buffer("thresholds", torch.zeros(tools.num_classes))  # keeps everything
        count = config.num_rounds
        self._label_shares = {f"round{number}": number / count for number in range(1, count + 1)}

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def stages(self) -> tuple[Stage, ...]:
        share = (1 - self.config.first_share) / self.config.num_rounds
        return (Stage("train", self.config.first_share), *(Stage(name, share) for name in self._label_shares))

    def begin(self, stage: Stage, pool: Pool) -> None:
        if stage.name in self._label_shares:
            self.labeler.follow(self.net, momentum=0.0)
            share = self._label_shares[stage.name]
            self.thresholds.copy_(pool_thresholds(self.net, pool, share, self.config.sample_every))

    def step(self, batch: Batch, now: Now) -> Step:
        if now.stage not in self._label_shares:
            return super().step(batch, now)
        assert batch.unlabeled is not None
        pseudo_labels = self._pseudo_labels(batch.unlabeled)
        losses, watch = learn_in_round(self, self.net, batch, pseudo_labels, self._trust)
        return Step(losses, watch | {"threshold": self.thresholds})

    def _trust(self, logits: Logits, view: View) -> Confidence:
        return probability_of(view.labels, logits) ** self.config.gamma

    @torch.no_grad()
    def _pseudo_labels(self, unlabeled: Unlabeled) -> Labels:
        logits = self.labeler.network(unlabeled.images).logits
        return normalized_pseudo_labels(logits, unlabeled.valid, self.thresholds)
