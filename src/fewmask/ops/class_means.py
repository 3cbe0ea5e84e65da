"""One feature vector per class: the mean over its pixels in an image, or the sum over its rows."""

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def class_means(
    features: Float[Tensor, "b d h w"], labels: Int64[Tensor, "b h w"], num_classes: int
) -> tuple[Float[Tensor, "b k d"], Bool[Tensor, "b k"]]:
    """The mean feature vector of every class in every image, and which classes an image has at all.

    Args:
        features: [b d h w]; half precision is computed in float32.
        labels: [b h w] in 0..k-1; pixels of any other value (IGNORE) take no part.
        num_classes: k.

    Returns:
        Means [b k d], 0 for a class that is not in the image; and [b k], whether a class is in the image.
    """
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        member = (labels[:, None] == torch.arange(num_classes, device=labels.device)[:, None, None]).to(features)
        count = member.sum(dim=(2, 3))
        sums = einsum(member, features, "b k h w, b d h w -> b k d")
        return sums / count.clamp(min=1)[:, :, None], count > 0


def class_sums(rows: Float[Tensor, "n d"], member: Bool[Tensor, "n k"]) -> Float[Tensor, "k d"]:
    """The sum of the rows of every class; under autocast too it has the type of the rows.

    Args:
        rows: [n d], float32 or float64.
        member: [n k], whether a row is one of a class.
    """
    with torch.autocast(rows.device.type, enabled=False):
        return member.T.to(rows) @ rows
