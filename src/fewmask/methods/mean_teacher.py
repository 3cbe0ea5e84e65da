"""The average of the student's past as its teacher: what cutmix and classmix share.

Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017, https://arxiv.org/abs/1703.01780.
"""

from typing import ClassVar

from pydantic import Field

from fewmask.data.batch import Unlabeled
from fewmask.errors import UserError
from fewmask.methods.base import Now, Tools
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.segnet import SegNet
from fewmask.models.teacher import Teacher


class MeanTeacherConfig(SupervisedConfig):
    """As of supervised training, and how slowly the teacher follows."""

    uses_unlabeled: ClassVar[bool] = True
    teacher_momentum: float = Field(0.99, ge=0, lt=1)


class MeanTeacher(Supervised):
    """Supervised training with a teacher beside it.

    The teacher averages the buffers too and is in eval mode. Its momentum is capped in the first steps, so that it is a
    true average of the first students.
    """

    config: MeanTeacherConfig

    def __init__(self, config: MeanTeacherConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.average = Teacher(self.net)

    def check_pairs(self, unlabeled: Unlabeled) -> None:
        """Raise a UserError where images are to be pasted into each other and there is one."""
        if len(unlabeled.images) < 2:
            what = f"{self.name} pastes unlabeled images into each other, and a batch has one"
            raise UserError(what, "training.unlabeled_batch", "Make it 2 or more.")

    @property
    def teacher(self) -> SegNet:
        return self.average.network  # type: ignore[return-value]

    def after_update(self, now: Now) -> None:
        self.average.follow(self.net, min(1 - 1 / (now.step + 1), self.config.teacher_momentum))
