"""One file per published method; METHODS is the list of them."""

from fewmask.methods.base import Method, MethodConfig, Now, Stage, Step, Tools
from fewmask.methods.class_bank import ClassBankMethod
from fewmask.methods.supervised import Supervised

METHODS: tuple[type[Method], ...] = (Supervised, ClassBankMethod)

__all__ = ["METHODS", "ClassBankMethod", "Method", "MethodConfig", "Now", "Stage", "Step", "Supervised", "Tools"]
