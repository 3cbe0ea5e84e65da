"""The positive-only contrast against the class bank, Eq. 8 to 11, exactly and in linear time.

Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank, ICCV 2021.

With attention weights normalized to mean 1 (Eq. 8) and unit vectors p, z of one class,
    (1/nm) sum_p sum_z w_p w_z (1 - <p, z>) = 1 - <(1/n) sum_p w_p p, (1/m) sum_z w_z z>,
because the weights sum to n and to m. So a class costs one dot product of two weighted means: no n x m matrix.
"""

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.groups import membership
from fewmask.shapes import RowClasses, Rows, RowScores, Scalar

_TINY = 1e-12


def bank_contrast(
    predictions: Rows,
    classes: RowClasses,
    bank: Float[Tensor, "k m d"],
    filled: Int64[Tensor, " k"],
    prediction_weights: RowScores,
    bank_weights: Float[Tensor, "k m"],
) -> Scalar:
    """Mean over the k classes of the weighted cosine distance between a class's predictions and its bank rows.

    Args:
        predictions: [n d] student vectors, any length; half precision is computed in float32.
        classes: [n] in 0..k-1; rows of any other value (IGNORE) take no part.
        bank: [k m d] teacher vectors, any length.
        filled: [k] how many rows of each class are in use, from the front; 0..m.
        prediction_weights: [n] in [0, 1] as the selector gives them; normalized here (Eq. 8).
        bank_weights: [k m] likewise; rows not in use are left out.

    Returns:
        A scalar in [0, 2]. Classes without predictions or without bank rows add 0, and the mean still runs over all
        k classes, as Eq. 11 and the released code have it.
    """
    num_classes, num_slots, _ = bank.shape
    with torch.autocast(predictions.device.type, enabled=False):
        real = torch.float64 if predictions.dtype == torch.float64 else torch.float32
        member = membership(classes, num_classes).to(real)
        in_use = torch.arange(num_slots, device=bank.device) < rearrange(filled, "k -> k 1")
        prediction_share = member * prediction_weights.to(real)[:, None]
        prediction_share = prediction_share / prediction_share.sum(dim=0).clamp(min=_TINY)
        bank_share = torch.where(in_use, bank_weights.to(real), 0.0)
        bank_share = bank_share / bank_share.sum(dim=1, keepdim=True).clamp(min=_TINY)
        prediction_mean = einsum(prediction_share, F.normalize(predictions.to(real), dim=1), "n k, n d -> k d")
        bank_mean = einsum(bank_share, F.normalize(bank.to(real), dim=2), "k m, k m d -> k d")
        distance = 1 - einsum(prediction_mean, bank_mean, "k d, k d -> k")
        takes_part = (member.sum(dim=0) > 0) & (filled > 0)
        return torch.where(takes_part, distance, 0.0).sum() / num_classes
