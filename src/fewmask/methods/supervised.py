"""Supervised training on the labeled images alone: the baseline that every other method has to beat."""

from typing import Any, ClassVar

from fewmask.augment import WEAK, Augmentation, View, augment_apart
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.plan import Now
from fewmask.models.frequency import ClassFrequency
from fewmask.models.segnet import SegNet
from fewmask.ops.losses import cross_entropy
from fewmask.shapes import Logits, PerClass, Scalar


class SupervisedConfig(MethodConfig):
    """The augmentation of labeled images, and the weights of their classes."""

    name: str = "supervised"
    class_balance: bool = True
    """Weights class c by sqrt(median / frequency_c) over the labels (Alonso et al., section 4.2)."""
    weak: Augmentation = WEAK
    """Augmentation of labeled images."""


class Supervised(Method):
    """Cross-entropy on weakly augmented labeled images: the baseline of the others.

    The first row of Table 5 of Alonso et al., ICCV 2021, is this baseline.
    """

    paper = "baseline"
    Config = SupervisedConfig
    baseline: ClassVar[str | None] = None

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(unlabeled=False)

    def __init__(self, config: SupervisedConfig, tools: Tools) -> None:
        super().__init__(tools)
        self.config = config
        self.net = tools.build_net()
        self.frequency = ClassFrequency(tools.num_classes, tools.num_labeled, 0, tools.accumulate)

    @property
    def student(self) -> SegNet:
        return self.net

    def step(self, batch: Batch, now: Now) -> Step:
        view = self.view(batch)
        return Step({"sup": self.supervised_loss(self.net(view.images).logits, view)}, {})

    def view(self, batch: Batch) -> View:
        """Weak views of the labeled images, the target's first; their labels are counted by class."""
        for part in batch.domains:
            self.frequency.observe(part.labels)
        return augment_apart(self.config.weak, batch.domains, self.tools.num_classes)

    def supervised_loss(self, logits: Logits, view: View) -> Scalar:
        """Cross-entropy with the labels of the views, weighted by class if `class_balance` is on."""
        return cross_entropy(logits, view.labels, self.class_weights())

    def class_weights(self) -> PerClass | None:
        """The weight of every class in a loss; None if `class_balance` is off."""
        return self.frequency.weights() if self.config.class_balance else None
