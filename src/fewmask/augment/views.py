"""The names of this package that methods use, in one place."""

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
