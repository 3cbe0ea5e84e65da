"""Draws labeled images by class, so that rare classes are seen as often as frequent ones.

A class is drawn first, then an image that holds it, as in Shen, Lin and Huang, Relay Backpropagation for Effective
Learning of Deep Convolutional Neural Networks, ECCV 2016, https://arxiv.org/abs/1512.05830. The crop then holds a pixel
of the class, as in Hoyer, Dai and Van Gool (DAFormer), CVPR 2022, https://arxiv.org/abs/2111.14887. Our choice: all
classes that have labels are equally likely, while DAFormer prefers rare ones by a softmax of their shares.
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from fewmask.ops.draw import Purpose, seed_at
from fewmask.shapes import Bool, ByteLabel


class Balance(NamedTuple):
    """Which share of the crops is drawn for a class, and which images hold which classes.

    Attributes:
        share: in [0, 1]; the other crops are of the images in turn.
        holds: [n k], whether each image holds each class. A class that no image holds is never drawn.
    """

    share: float
    holds: Bool[Tensor, "n k"]

    def draw(self, *place: int) -> tuple[int, int] | None:
        """The image and the class that a crop at this place is drawn for; None if it is not drawn for a class."""
        generator = np.random.default_rng(seed_at(Purpose.BALANCE, *place))
        present = np.flatnonzero(self.holds.any(dim=0).numpy())
        if generator.random() >= self.share or len(present) == 0:
            return None
        label = int(generator.choice(present))
        return int(generator.choice(np.flatnonzero(self.holds[:, label].numpy()))), label


def corner_around(label: int, labels: ByteLabel, crop: tuple[int, int], seed: int) -> tuple[int, int] | None:
    """Top and left of a random window that holds a random pixel of the class; None if the class has no pixel."""
    generator = np.random.default_rng(seed)
    pixels = np.flatnonzero(labels.numpy() == label)
    if len(pixels) == 0:  # it was lost when the mask was resized
        return None
    pixel = divmod(int(generator.choice(pixels)), labels.shape[1])
    top, left = (
        int(generator.integers(max(0, at - side + 1), min(at, max(full - side, 0)) + 1))
        for at, side, full in zip(pixel, crop, labels.shape, strict=True)
    )
    return top, left
