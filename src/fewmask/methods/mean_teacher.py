"""Mean teacher for segmentation: a student and the average of its past agree on two colorings of an image.

Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017, https://arxiv.org/abs/1703.01780. The paper
classifies images. Our choices for segmentation: the squared distance of probabilities is summed over the classes as in
French et al. (BMVC 2020), the two views differ in color and blur alone so that their pixels stay together, the term
reads unlabeled images only, and the ramp, the weight and the momentum have the values below.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field

from fewmask.augment import STRONG, Augmentation, Probability, distort
from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs
from fewmask.methods.course import Step
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.mean_teacher import MeanTeacher, MeanTeacherConfig
from fewmask.methods.parts.pseudo import most_likely
from fewmask.methods.parts.weak_to_strong import weak_view
from fewmask.methods.plan import Now, sigmoid_ramp
from fewmask.ops.losses import squared_distance


class MeanTeacherMethodConfig(MeanTeacherConfig):
    """The two colorings, and how the consistency comes in; the labeled term is that of supervised training."""

    name: str = "mean_teacher"
    strong: Augmentation = STRONG
    """Augmentation of the student's and of the teacher's view after the weak one, of which color and blur apply."""
    consistency_weight: float = Field(1.0, ge=0)
    """Weight of the consistency after its ramp."""
    ramp_share: Probability = 0.1
    """Share of the run, from its start, in which the weight of the consistency rises."""


class MeanTeacherMethod(MeanTeacher):
    """Cross-entropy on labeled images, and the squared distance to a teacher's probabilities for another coloring."""

    paper = "Tarvainen and Valpola, NeurIPS 2017 (our reading for segmentation)"
    Config = MeanTeacherMethodConfig
    own: ClassVar = {"class_balance": False}
    config: MeanTeacherMethodConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(networks=("teacher", "student"))

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        labeled, weak = self.view(batch), weak_view(self.config, batch.unlabeled)
        seen_by_student, seen_by_teacher = (distort(self.config.strong, weak.images) for _ in range(2))
        with torch.no_grad():
            teacher_logits = self.teacher(seen_by_teacher).logits.float()
        pseudo = most_likely(teacher_logits, weak.valid)
        distance = squared_distance(self.net(seen_by_student).logits, teacher_logits.softmax(dim=1))
        consistency = torch.where(weak.valid, distance, 0.0).sum() / weak.valid.sum().clamp(min=1)
        weight = self.config.consistency_weight * sigmoid_ramp(now.progress, self.config.ramp_share)
        losses = {
            "sup": self.supervised_loss(self.net(labeled.images).logits, labeled),
            "consistency": weight * consistency,
        }
        return Step(losses, {EXCESS: excess_of(pseudo.labels, self.frequency)})
