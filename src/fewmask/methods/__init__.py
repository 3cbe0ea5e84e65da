"""One file per published method; METHODS is the list of them."""

from fewmask.methods.adversarial import Adversarial
from fewmask.methods.ass import SemanticShift
from fewmask.methods.augseg import AugSeg
from fewmask.methods.base import Alarm, Method, MethodConfig, Needs, Tools
from fewmask.methods.cac import ContextConsistency
from fewmask.methods.cbc import CBC
from fewmask.methods.class_bank import ClassBankMethod
from fewmask.methods.classmix import ClassMix
from fewmask.methods.corrmatch import CorrMatch
from fewmask.methods.course import Prelude, Step
from fewmask.methods.cps import CPS
from fewmask.methods.cutmix import CutMix
from fewmask.methods.dmt import DMT
from fewmask.methods.domain_baselines import Joint, SourceOnly, TargetOnly
from fewmask.methods.ecs import ErrorCorrection
from fewmask.methods.fixmatch import FixMatch
from fewmask.methods.groups import Group, OwnAdam
from fewmask.methods.label_contrast import LabelContrast
from fewmask.methods.mean_teacher import MeanTeacherMethod
from fewmask.methods.parts.pretraining import ContrastConfig, Pretraining
from fewmask.methods.patch_contrast import PatchContrast
from fewmask.methods.pixcon import PixCon
from fewmask.methods.plan import Now, Stage
from fewmask.methods.prevmatch import PrevMatch
from fewmask.methods.prototypes import Prototypes
from fewmask.methods.reco import ReCo
from fewmask.methods.s4gan import S4GAN
from fewmask.methods.supervised import Supervised
from fewmask.methods.u2pl import U2PL
from fewmask.methods.unimatch import UniMatch
from fewmask.methods.unimatch_v2 import UniMatchV2

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
    MeanTeacherMethod,
    FixMatch,
    CPS,
    UniMatch,
    UniMatchV2,
    PrevMatch,
    AugSeg,
    U2PL,
    ReCo,
    CorrMatch,
    PixCon,
    Prototypes,
    SourceOnly,
    TargetOnly,
    Joint,
    SemanticShift,
    PatchContrast,
)

DEFAULT = AugSeg.name
"""The method of a run that names none: see docs/results/search.md for what it gave."""

DEMO = ClassBankMethod.name
"""The method of the demo, whose images without masks are of another kind than its masks."""

PRETRAINING = LabelContrast.name
"""The word for a prelude of label-based contrast with its default settings."""

__all__ = [
    "CBC",
    "CPS",
    "DEFAULT",
    "DEMO",
    "DMT",
    "METHODS",
    "PRETRAINING",
    "S4GAN",
    "U2PL",
    "Adversarial",
    "Alarm",
    "AugSeg",
    "ClassBankMethod",
    "ClassMix",
    "ContextConsistency",
    "ContrastConfig",
    "CorrMatch",
    "CutMix",
    "ErrorCorrection",
    "FixMatch",
    "Group",
    "Joint",
    "LabelContrast",
    "MeanTeacherMethod",
    "Method",
    "MethodConfig",
    "Needs",
    "Now",
    "OwnAdam",
    "PatchContrast",
    "PixCon",
    "Prelude",
    "Pretraining",
    "PrevMatch",
    "Prototypes",
    "ReCo",
    "SemanticShift",
    "SourceOnly",
    "Stage",
    "Step",
    "Supervised",
    "TargetOnly",
    "Tools",
    "UniMatch",
    "UniMatchV2",
]
