"""The baselines of semi-supervised domain adaptation: supervised training on the source, on the target, on both.

Comparisons of adaptation methods have these rows, for example Table 4 of Alonso et al., ICCV 2021.
"""

from typing import Any

from fewmask.methods.base import Needs
from fewmask.methods.supervised import Supervised, SupervisedConfig


class SourceOnlyConfig(SupervisedConfig):
    """The settings of supervised training."""

    name: str = "source_only"


class SourceOnly(Supervised):
    """Cross-entropy on the source alone: what the target's images and labels have to improve on.

    Every labeled batch is of the source. The target is there to be scored, and needs no masks for training.
    """

    paper = "baseline"
    Config = SourceOnlyConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(unlabeled=False, source="alone")


class TargetOnlyConfig(SupervisedConfig):
    """The settings of supervised training."""

    name: str = "target_only"


class TargetOnly(Supervised):
    """Cross-entropy on the labeled target alone: what the source has to improve on."""

    paper = "baseline"
    Config = TargetOnlyConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(unlabeled=False, source="never")


class JointConfig(SupervisedConfig):
    """The settings of supervised training."""

    name: str = "joint"


class Joint(Supervised):
    """Cross-entropy on both domains in one batch, every pixel counting the same.

    ClassMix pastes within a domain: pasting across domains is an adaptation method of its own.
    """

    paper = "baseline"
    Config = JointConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(unlabeled=False, source="required")
