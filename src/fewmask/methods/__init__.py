"""One file per published method; METHODS is the list of them."""

from fewmask.methods.adversarial import Adversarial
from fewmask.methods.ass import SemanticShift
from fewmask.methods.base import Method, MethodConfig, Now, Stage, Step, Tools
from fewmask.methods.cac import ContextConsistency
from fewmask.methods.cbc import CBC
from fewmask.methods.class_bank import ClassBankMethod
from fewmask.methods.classmix import ClassMix
from fewmask.methods.cutmix import CutMix
from fewmask.methods.dmt import DMT
from fewmask.methods.domain_baselines import Joint, SourceOnly, TargetOnly
from fewmask.methods.ecs import ErrorCorrection
from fewmask.methods.label_contrast import LabelContrast
from fewmask.methods.patch_contrast import PatchContrast
from fewmask.methods.pretraining import ContrastConfig, Pretrained
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

__all__ = [
    "CBC",
    "DMT",
    "METHODS",
    "S4GAN",
    "Adversarial",
    "ClassBankMethod",
    "ClassMix",
    "ContextConsistency",
    "ContrastConfig",
    "CutMix",
    "ErrorCorrection",
    "Joint",
    "LabelContrast",
    "Method",
    "MethodConfig",
    "Now",
    "PatchContrast",
    "Pretrained",
    "SemanticShift",
    "SourceOnly",
    "Stage",
    "Step",
    "Supervised",
    "TargetOnly",
    "Tools",
]
