"""Contrast of pixel vectors: with a class-wise memory bank."""

from fewmask.ops.contrast.bank import BankMeans, bank_contrast, bank_means, mean_contrast

__all__ = ["BankMeans", "bank_contrast", "bank_means", "mean_contrast"]
