"""Labels a whole segment with the class that nearly all of it has for sure.

Sun et al., CorrMatch: Label Propagation via Correlation Matching for Semi-Supervised Semantic Segmentation, CVPR 2024,
https://arxiv.org/abs/2306.04300.
"""

import torch
from torch import Tensor

from fewmask.shapes import IGNORE, Bool, Int64, Scalar


@torch.no_grad()
def propagated_labels(
    segments: Bool[Tensor, "b m n"],
    labels: Int64[Tensor, "b n"],
    sure: Bool[Tensor, "b n"],
    threshold: Scalar,
    num_classes: int,
) -> Int64[Tensor, "b n"]:
    """The class of the segment that a pixel lies in; IGNORE where no segment passes.

    A segment passes if at least the share `threshold` of its pixels is sure, and if among the sure ones more than this
    share has one class. Where several lie over each other, the last one counts. The released code takes one segment
    after the other, so that a segment sees the labels that the ones before it have changed.

    Args:
        segments: the pixels of each segment; segments may be empty.
        labels: 0..num_classes-1, or IGNORE.
        sure: which labels can be trusted; those that are IGNORE cannot.
        threshold: in [0, 1].
        num_classes: k.
    """
    inside = segments.float()
    classes = torch.arange(num_classes, device=labels.device)
    member = ((labels[:, :, None] == classes) & sure[:, :, None]).float()
    with torch.autocast(inside.device.type, enabled=False):  # half precision would round the counts
        counts = inside @ member
    num_sure, (largest, label) = counts.sum(dim=2), counts.max(dim=2)
    passes = (num_sure > 0) & (num_sure >= threshold.float() * inside.sum(dim=2)) & (largest > threshold * num_sure)
    order = torch.arange(1, segments.shape[1] + 1, device=labels.device)
    last = (segments * (passes * order)[:, :, None]).amax(dim=1)
    return label.gather(1, (last - 1).clamp(min=0)).masked_fill(last == 0, IGNORE)
