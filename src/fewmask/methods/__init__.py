"""One file per published method; METHODS is the list of them."""

from fewmask.methods.base import Method, MethodConfig, Now, Stage, Step, Tools
from fewmask.methods.class_bank import ClassBankMethod
from fewmask.methods.label_contrast import LabelContrast
from fewmask.methods.pretraining import ContrastConfig, Pretrained
from fewmask.methods.supervised import Supervised

METHODS: tuple[type[Method], ...] = (Supervised, ClassBankMethod, LabelContrast)

__all__ = [
    "METHODS",
    "ClassBankMethod",
    "ContrastConfig",
    "LabelContrast",
    "Method",
    "MethodConfig",
    "Now",
    "Pretrained",
    "Stage",
    "Step",
    "Supervised",
    "Tools",
]
