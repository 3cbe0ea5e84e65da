"""The margin of a prediction: how far the probability of the labeled class lies above that of every other class."""

import torch

from fewmask.shapes import Confidence, Labels, Logits


@torch.no_grad()
def margin(logits: Logits, labels: Labels) -> Confidence:
    """The probability of the label minus the largest probability of another class, in float32.

    Args:
        logits: of any precision.
        labels: 0..k-1; the margin of a pixel with another value (IGNORE) means nothing.

    Returns:
        A number in [-1, 1] for each pixel: below 0 where the prediction is wrong, near 1 where it is right and sure.
    """
    probabilities = logits.float().softmax(dim=1)
    own = labels.clamp(max=logits.shape[1] - 1)[:, None]
    others = probabilities.scatter(1, own, -1.0).amax(dim=1)
    return probabilities.gather(1, own)[:, 0] - others
