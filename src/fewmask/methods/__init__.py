"""One file per published method; METHODS is the list of them."""

from fewmask.methods.adversarial import Adversarial
from fewmask.methods.ass import SemanticShift
from fewmask.methods.base import Alarm, Method, MethodConfig, Needs, Tools
from fewmask.methods.cac import ContextConsistency
from fewmask.methods.cbc import CBC
from fewmask.methods.class_bank import ClassBankMethod
from fewmask.methods.classmix import ClassMix
from fewmask.methods.course import Prelude, Step
from fewmask.methods.cutmix import CutMix
from fewmask.methods.dmt import DMT
from fewmask.methods.domain_baselines import Joint, SourceOnly, TargetOnly
from fewmask.methods.ecs import ErrorCorrection
from fewmask.methods.groups import Group, OwnAdam
from fewmask.methods.label_contrast import LabelContrast
from fewmask.methods.parts.pretraining import ContrastConfig, Pretraining
from fewmask.methods.patch_contrast import PatchContrast
from fewmask.methods.plan import Now, Stage
from fewmask.methods.s4gan import S4GAN
from fewmask.methods.supervised import Supervised

METHODS: tuple[type[Method], ...] = (
    Supervised,
    ClassBankMethod,
    LabelContrast,
    Adversarial,
    S4GAN,
    CutMix,
    CBC,
    ClassMix,
    DMT,
    ErrorCorrection,
    ContextConsistency,
    SourceOnly,
    TargetOnly,
    Joint,
    SemanticShift,
    PatchContrast,
)

DEFAULT = ClassBankMethod.name
"""The method of a run that names none."""

PRETRAINING = LabelContrast.name
"""The word for a prelude of label-based contrast with its default settings."""

__all__ = [
    "CBC",
    "DEFAULT",
    "DMT",
    "METHODS",
    "PRETRAINING",
    "S4GAN",
    "Adversarial",
    "Alarm",
    "ClassBankMethod",
    "ClassMix",
    "ContextConsistency",
    "ContrastConfig",
    "CutMix",
    "ErrorCorrection",
    "Group",
    "Joint",
    "LabelContrast",
    "Method",
    "MethodConfig",
    "Needs",
    "Now",
    "OwnAdam",
    "PatchContrast",
    "Prelude",
    "Pretraining",
    "SemanticShift",
    "SourceOnly",
    "Stage",
    "Step",
    "Supervised",
    "TargetOnly",
    "Tools",
]
