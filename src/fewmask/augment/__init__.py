"""Augmentation on the device: the parts that a method's views are made of, and the names that methods use."""

from fewmask.augment.augmentation import STRONG, WEAK, Augmentation, Probability
from fewmask.augment.batch import augment, augment_apart, augment_unlabeled, distort
from fewmask.augment.view import View

__all__ = [
    "STRONG",
    "WEAK",
    "Augmentation",
    "Probability",
    "View",
    "augment",
    "augment_apart",
    "augment_unlabeled",
    "distort",
]
