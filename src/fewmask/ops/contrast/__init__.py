"""Contrasts of pixels with a bank, drawn negatives, copies or another context, and of patches across domains."""

from fewmask.ops.contrast.bank import (
    BankMeans,
    attention_sums,
    bank_contrast,
    bank_means,
    effective_share,
    mean_contrast,
)
from fewmask.ops.contrast.directional import Pixels, directional_contrast, pulled
from fewmask.ops.contrast.negatives import (
    contrast_with_all_classes,
    contrast_with_drawn_keys,
    other_class_draws,
    regional_contrast,
)
from fewmask.ops.contrast.patches import LabelPatches, disparity, info_nce, label_patches, patch_grid
from fewmask.ops.contrast.pixels import batch_contrast, cross_image_contrast, within_image_contrast

__all__ = [
    "BankMeans",
    "LabelPatches",
    "Pixels",
    "attention_sums",
    "bank_contrast",
    "bank_means",
    "batch_contrast",
    "contrast_with_all_classes",
    "contrast_with_drawn_keys",
    "cross_image_contrast",
    "directional_contrast",
    "disparity",
    "effective_share",
    "info_nce",
    "label_patches",
    "mean_contrast",
    "other_class_draws",
    "patch_grid",
    "pulled",
    "regional_contrast",
    "within_image_contrast",
]
