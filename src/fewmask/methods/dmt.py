"""Two networks label the pool for each other, and each learns less where it disagrees: dynamic mutual training.

Feng, Zhou, Gu, Tan, Cheng, Lu, Shi and Ma, DMT: Dynamic Mutual Training for Semi-Supervised Learning, Pattern
Recognition 2022, https://arxiv.org/abs/2004.08514.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

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
from fewmask.models.apart import draw_apart
from fewmask.models.build import build_net
from fewmask.models.modes import in_eval_mode
from fewmask.models.segnet import SegNet
from fewmask.models.teacher import Teacher
from fewmask.ops.self_training import confident_pseudo_labels, mutual_weights
from fewmask.shapes import Confidence, Labels, Logits

OTHER = "_other"
"""The end of the name of a stage in which the second network learns."""


class DMTConfig(SupervisedConfig):
    """The start of the second network, the phases, and how fast the weight of a pseudo-label falls with probability."""

    name: str = "dmt"
    class_balance: bool = False
    """Weights the classes of labeled pixels, as in supervised training; the original weights no class."""
    other_weights: str | None = None
    """Weights that the second network starts from. None: net.weights. The paper's two start from COCO and ImageNet."""
    num_phases: int = Field(5, ge=1, le=1000)
    """Phase r labels the share r / num_phases of the pixels of every class, the last one everything."""
    first_share: float = Field(1 / 3, gt=0, lt=1)
    """Share of the run's steps that are supervised, half for each network; the phases share the rest evenly. The paper
    counts epochs."""
    agreed_gamma: float = Field(5.0, ge=0)
    """gamma1, the power of the probability where the network agrees with a pseudo-label; 5 on VOC, 3 on Cityscapes."""
    disputed_gamma: float = Field(5.0, ge=0)
    """gamma2, the power where the network disagrees and is less sure than the label; 5 on VOC, 3 on Cityscapes."""
    sample_every: int = Field(16, ge=1)
    """The thresholds are found from one in this many pixels."""

    def with_weights(self, change: Callable[[str], str]) -> "DMTConfig":
        if self.other_weights is None:
            return self
        return self.model_copy(update={"other_weights": change(self.other_weights)})


class DMT(Supervised):
    """Two networks learn from the labels and then, in phases, each from the pseudo-labels of the other.

    The first network is scored and shipped. In a phase each network learns from the other as it was before the phase.
    The first network learns last, so that scores on val, which are taken in the last stage, see it learn. In the
    released scripts this network learns first, which changes only the draws. The steps of a run are those of both.

    Differences from the original: both networks see the same labels, while the paper also has two samples of labels
    that differ as much as possible. If both start from the same weights, they differ by the drawn weights of decoder
    and classifier and by the order, crops and views of the images. Crops are labeled as they are drawn, not whole
    images once a phase. The views are the harness's weak ones. No weights are selected on val. The batch is the
    recipe's; the original has 7 pseudo-labeled images and 1 labeled image on VOC, and 6 and 2 on Cityscapes.
    """

    paper = "Feng et al., Pattern Recognition 2022"
    Config = DMTConfig
    own: ClassVar = {"weak": own_views(scale_range=(0.5, 1.5))}
    toy: ClassVar = {"sample_every": 1, "num_phases": 2}
    config: DMTConfig
    thresholds: Tensor

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(num_learners=2)

    def __init__(self, config: DMTConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        start = tools.net.model_copy(update={"weights": config.other_weights or tools.net.weights})
        self.other = build_net(start, tools.num_classes)
        draw_apart(self.net, self.other)
        self.former = Teacher(self.other)  # the second network as it was before the phase
        self.register_buffer("thresholds", torch.zeros(tools.num_classes))  # keeps everything
        count = config.num_phases
        self._label_shares = {
            f"phase{number}{which}": number / count for number in range(1, count + 1) for which in (OTHER, "")
        }

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def stages(self) -> tuple[Stage, ...]:
        first, phase = self.config.first_share / 2, (1 - self.config.first_share) / len(self._label_shares)
        phases = (Stage(name, phase) for name in self._label_shares)
        return (Stage("train", first), Stage("train" + OTHER, first), *phases)

    def encoders(self) -> list[nn.Parameter]:
        return [*super().encoders(), *self.other.parameter_groups()["encoder"]]

    def begin(self, stage: Stage, pool: Pool) -> None:
        if stage.name not in self._label_shares:
            return
        if stage.name.endswith(OTHER):
            self.former.follow(self.other, momentum=0.0)
        share, every = self._label_shares[stage.name], self.config.sample_every
        self.thresholds.copy_(pool_thresholds(self._labeler(stage.name), pool, share, every))

    def step(self, batch: Batch, now: Now) -> Step:
        learner = self.other if now.stage.endswith(OTHER) else self.net
        if now.stage not in self._label_shares:
            view = self.view(batch)
            return Step({"sup": self.supervised_loss(learner(view.images).logits, view)}, {})
        assert batch.unlabeled is not None
        pseudo_labels, confidence = self._pseudo_labels(self._labeler(now.stage), batch.unlabeled)
        losses, watch = learn_in_round(self, learner, batch, pseudo_labels, self._trust, confidence)
        return Step(losses, watch | {"threshold": self.thresholds})

    def _trust(self, logits: Logits, view: View) -> Confidence:
        gammas = self.config.agreed_gamma, self.config.disputed_gamma
        return mutual_weights(logits, view.labels, view.confidence, *gammas)

    def _labeler(self, stage: str) -> SegNet:
        """The network that labels for the one that learns in this stage."""
        former = self.former.network
        assert isinstance(former, SegNet)
        return self.net if stage.endswith(OTHER) else former

    @torch.no_grad()
    def _pseudo_labels(self, labeler: SegNet, unlabeled: Unlabeled) -> tuple[Labels, Confidence]:
        with in_eval_mode(labeler):
            logits = labeler(unlabeled.images).logits
        return confident_pseudo_labels(logits, unlabeled.valid, self.thresholds)
