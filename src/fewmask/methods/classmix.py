"""ClassMix: half of the classes that a teacher sees in one image are pasted, with its labels, into another.

Olsson, Tranheden, Pinto and Svensson, ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning,
WACV 2021, https://arxiv.org/abs/2007.07936. The numbers and the order of steps are those of the released code
(WilhelmT/ClassMix, trainSSL.py) with its settings for Cityscapes.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field

from fewmask.augment import Augmentation, Probability, View, augment
from fewmask.data.batch import Batch, Unlabeled
from fewmask.methods.base import Alarm, Needs
from fewmask.methods.course import Step
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.mean_teacher import MeanTeacher, MeanTeacherConfig
from fewmask.methods.parts.own_views import own_views
from fewmask.methods.parts.pseudo import most_likely
from fewmask.methods.plan import Now
from fewmask.ops.losses import cross_entropy
from fewmask.shapes import IGNORE, Scalar

MIXED = Augmentation(
    flip_probability=0.0,
    scale_probability=0.0,
    jitter_probability=0.8,
    brightness=0.25,
    contrast=0.25,
    saturation=0.25,
    hue=0.25,
    blur_probability=0.5,
    blur_sigma=(0.15, 1.15),
    classmix_probability=1.0,
)
"""Every image is mixed, then its color changes. The released code decides once per batch whether to jitter and blur."""


class ClassMixConfig(MeanTeacherConfig):
    """The mixed view and how its pseudo-labels count; the labeled term is that of supervised training."""

    name: str = "classmix"
    class_balance: bool = False
    """Weights the classes of labeled pixels, as in supervised training; the original weights no class."""
    strong: Augmentation = MIXED
    """Augmentation of unlabeled images. On Pascal VOC the original has jitter and blur at probability 0."""
    confidence_threshold: Probability = 0.968
    """The pseudo-labeled term is multiplied by the share of its pixels of which the teacher is at least this sure."""
    pseudo_weight: float = Field(1.0, ge=0)
    """Weight of the cross-entropy with pseudo-labels."""


class ClassMix(MeanTeacher):
    """Cross-entropy on labeled images, and on mixed unlabeled images with the mixed predictions of a teacher.

    The teacher averages the buffers too and is in eval mode, the harness's default. In the released code the teacher
    averages parameters only and normalizes with the statistics of its batch (`teacher_on_batch_statistics=true`).
    """

    paper = "Olsson et al., WACV 2021"
    Config = ClassMixConfig
    own: ClassVar = {"weak": own_views(flips=False)}  # for Cityscapes; on Pascal VOC images are scaled by 0.5 to 1.6
    toy: ClassVar = {"confidence_threshold": 0.3}
    config: ClassMixConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(min_unlabeled_batch=2, networks=("student", "teacher"))

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        mixed, labeled = self._mixed(batch.unlabeled), self.view(batch)
        confident = self._confident_share(mixed)
        sup = self.supervised_loss(self.net(labeled.images).logits, labeled)
        pseudo = cross_entropy(self.net(mixed.images).logits, mixed.labels)
        return Step(
            {"sup": sup, "pseudo": self.config.pseudo_weight * confident * pseudo},
            {"sure": confident, EXCESS: excess_of(mixed.labels, self.frequency)},
        )

    @torch.no_grad()
    def _mixed(self, unlabeled: Unlabeled) -> View:
        """The mixed images with their pseudo-labels and confidence, which the teacher gives for the unmixed images.

        The paper mixes the teacher's soft maps and then takes the argmax. As every pixel comes from one image, mixing
        classes and largest probabilities gives the same.
        """
        pseudo = most_likely(self.teacher(unlabeled.images).logits, unlabeled.valid)
        num_classes = self.tools.num_classes
        return augment(self.config.strong, unlabeled.images, pseudo.labels, num_classes, pseudo.confidence)

    def _confident_share(self, mixed: View) -> Scalar:
        """The share of the pixels with a pseudo-label of which the teacher is sure, over the whole batch; in [0, 1]."""
        counted = mixed.labels != IGNORE
        sure = counted & (mixed.confidence >= self.config.confidence_threshold)
        return sure.sum() / counted.sum().clamp(min=1)
