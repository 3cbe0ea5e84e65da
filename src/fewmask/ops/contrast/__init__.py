"""Contrasts of pixels with a class-wise bank, distorted copies or another context, and of patches across domains."""

from fewmask.ops.contrast.bank import BankMeans, bank_contrast, bank_means, effective_share, mean_contrast
from fewmask.ops.contrast.directional import Pixels, directional_contrast, pulled
from fewmask.ops.contrast.patches import LabelPatches, disparity, info_nce, label_patches, patch_grid
from fewmask.ops.contrast.pixels import batch_contrast, cross_image_contrast, within_image_contrast

__all__ = [
    "BankMeans",
    "LabelPatches",
    "Pixels",
    "bank_contrast",
    "bank_means",
    "batch_contrast",
    "cross_image_contrast",
    "directional_contrast",
    "disparity",
    "effective_share",
    "info_nce",
    "label_patches",
    "mean_contrast",
    "patch_grid",
    "pulled",
    "within_image_contrast",
]
