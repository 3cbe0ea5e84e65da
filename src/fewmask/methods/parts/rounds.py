"""What methods of self-training in rounds share: thresholds from the pool, and a mean over two kinds of pixels."""

import torch
from jaxtyping import Int64
from torch import Tensor

from fewmask.data.pool import Pool
from fewmask.models.segnet import SegNet
from fewmask.ops.self_training import confidence_counts, top_share_thresholds
from fewmask.shapes import IGNORE, Labels, PerClass, Scalar, Valid


@torch.no_grad()
def pool_thresholds(net: SegNet, pool: Pool, share: float, sample_every: int) -> PerClass:
    """The class thresholds that keep the top `share` of what `net`, in eval mode, predicts for the pool.

    Every `sample_every`-th pixel of an image is looked at, in rows from the top left.
    """
    counts = confidence_counts(net.mean.new_empty(0), net.mean.new_empty(0, dtype=torch.int64), net.num_classes)
    for images, valid in pool:
        confidence, classes = net(images).logits.float().softmax(dim=1).max(dim=1)
        classes = classes.masked_fill(~valid, IGNORE)
        counts += confidence_counts(
            confidence.flatten()[::sample_every], classes.flatten()[::sample_every], net.num_classes
        )
    return top_share_thresholds(counts, share)


def over_all_pixels(
    sup: Scalar, labels: Labels, pseudo: Scalar, pseudo_labels: Int64[Tensor, "u h w"]
) -> dict[str, Scalar]:
    """Two means, each over the pixels that are not ignored, as the two parts of the mean over all of these pixels."""
    num_labeled, num_pseudo = (labels != IGNORE).sum(), (pseudo_labels != IGNORE).sum()
    total = (num_labeled + num_pseudo).clamp(min=1)
    return {"sup": sup * num_labeled / total, "pseudo": pseudo * num_pseudo / total}


def kept_share(pseudo_labels: Labels, valid: Valid) -> Tensor:
    """The share of the pixels of the unlabeled images that got a label."""
    return (pseudo_labels != IGNORE).sum() / valid.sum().clamp(min=1)
