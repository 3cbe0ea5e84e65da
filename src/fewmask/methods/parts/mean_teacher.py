"""A teacher that averages the student's past, which several methods share.

Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017, https://arxiv.org/abs/1703.01780.
"""

from typing import Any

from pydantic import Field
from torch import nn

from fewmask.methods.base import Needs, Tools
from fewmask.methods.plan import Now
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.segnet import SegNet
from fewmask.models.teacher import Teacher, average_momentum


class MeanTeacherConfig(SupervisedConfig):
    """The settings of supervised training, and how slowly the teacher follows."""

    teacher_momentum: float = Field(0.99, ge=0, lt=1)
    """Momentum with which the teacher averages the student; it is smaller in the first steps."""
    teacher_on_batch_statistics: bool = False
    """Whether the teacher averages the parameters alone and always normalizes by its batch, as in the released code of
    `classmix` and `reco`. Otherwise it averages BatchNorm's statistics too and normalizes by them."""


class MeanTeacher(Supervised):
    """Supervised training with a teacher beside it.

    The teacher averages the buffers too and is in eval mode, unless `teacher_on_batch_statistics` says otherwise. Its
    momentum is capped in the first steps, so that it is a true average of the first students.
    """

    config: MeanTeacherConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(networks=("student", "teacher"))

    def __init__(self, config: MeanTeacherConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.average = self.average_of(self.net)

    def average_of(self, module: nn.Module) -> Teacher:
        """A teacher of the module."""
        by_batch = self.config.teacher_on_batch_statistics
        return Teacher(module, follow_buffers=not by_batch, train_mode=by_batch)

    @property
    def teacher(self) -> SegNet:
        """The average of the student."""
        return self.average.network  # type: ignore[return-value]

    def networks(self) -> dict[str, SegNet]:
        both = {"student": self.student, "teacher": self.teacher}
        return {name: both[name] for name in self.needs(self.config).networks}

    def after_update(self, now: Now) -> None:
        self.average.follow(self.net, average_momentum(now.progress, now.steps).clamp(max=self.config.teacher_momentum))
