"""Class weights for pseudo-labels, as `class_bank` has them, in methods whose papers weigh no class [OURS].

With `class_balance` alone, a rare class weighs more in the labels than in the pseudo-labels, so the frequent classes
win where both say something of a pixel.
"""

from typing import Any

from fewmask.methods.base import Tools
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.frequency import ClassFrequency
from fewmask.shapes import PerClass


class PseudoBalanceConfig(SupervisedConfig):
    """Whether classes are weighted in pseudo-labels, too."""

    pseudo_balance: bool = False
    """Whether the class weights of `class_balance` also weigh pseudo-labels, and count them, as in `class_bank` [OURS].
    Without it, rare classes weigh more in labels than in pseudo-labels."""


class PseudoBalanced(Supervised):
    """A method whose class weights may weigh pseudo-labels, and then come from labels and pseudo-labels together."""

    config: Any

    def __init__(self, config: Any, tools: Tools) -> None:
        super().__init__(config, tools)
        if config.pseudo_balance:
            counted = tools.num_labeled, tools.num_unlabeled
            self.frequency = ClassFrequency(tools.num_classes, *counted, tools.accumulate)

    def pseudo_weights(self) -> PerClass | None:
        """The weight of every class in the loss of pseudo-labels; None if none is weighted."""
        return self.class_weights() if self.config.pseudo_balance else None
