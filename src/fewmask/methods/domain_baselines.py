"""The baselines of semi-supervised domain adaptation: supervised training on the source, on the target, on both.

Rows that every comparison of adaptation methods has beside the methods; Table 4 of Alonso et al., ICCV 2021.
"""

from typing import ClassVar, Literal

from fewmask.methods.base import SourceUse
from fewmask.methods.supervised import Supervised, SupervisedConfig


class SourceOnlyConfig(SupervisedConfig):
    """As of supervised training."""

    name: Literal["source_only"] = "source_only"  # type: ignore[assignment]
    source_use: ClassVar[SourceUse] = "alone"


class SourceOnly(Supervised):
    """Cross-entropy on the source alone: what the target's images and labels have to improve on.

    Every labeled batch is of the source; the target is there to be scored, and needs no masks to train with.
    """

    name = "source_only"
    paper = "baseline"
    Config = SourceOnlyConfig


class TargetOnlyConfig(SupervisedConfig):
    """As of supervised training."""

    name: Literal["target_only"] = "target_only"  # type: ignore[assignment]
    source_use: ClassVar[SourceUse] = "never"


class TargetOnly(Supervised):
    """Cross-entropy on the labeled target alone: what the source has to improve on."""

    name = "target_only"
    paper = "baseline"
    Config = TargetOnlyConfig


class JointConfig(SupervisedConfig):
    """As of supervised training."""

    name: Literal["joint"] = "joint"  # type: ignore[assignment]
    source_use: ClassVar[SourceUse] = "required"


class Joint(Supervised):
    """Cross-entropy on both domains in one batch, every pixel counting the same.

    ClassMix pastes within a domain: pasting across domains is an adaptation method of its own.
    """

    name = "joint"
    paper = "baseline"
    Config = JointConfig
