"""Contrast of pixel vectors: with a class-wise memory bank, and with labeled pixels of distorted copies."""

from fewmask.ops.contrast.bank import BankMeans, bank_contrast, bank_means, mean_contrast
from fewmask.ops.contrast.pixels import batch_contrast, cross_image_contrast, within_image_contrast

__all__ = [
    "BankMeans",
    "bank_contrast",
    "bank_means",
    "batch_contrast",
    "cross_image_contrast",
    "mean_contrast",
    "within_image_contrast",
]
