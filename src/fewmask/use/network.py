"""What prediction needs of a network, whatever computes it; needs no torch."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fewmask.data.classes import Classes
from fewmask.data.size import Resize
from fewmask.use.scaling import Side


class View(NamedTuple):
    """How an image is shown to the network: its scale, and whether it is mirrored."""

    scale: float = 1.0
    mirrored: bool = False


PLAIN = (View(),)
"""The image as it is."""


def augmented_views(scales: Sequence[float] = (0.75, 1.0, 1.25)) -> tuple[View, ...]:
    """The image and its mirror image at every scale: the views of test-time augmentation."""
    return tuple(View(scale, mirrored) for scale in scales for mirrored in (False, True))


class Maps(NamedTuple):
    """What is predicted for rows of an image.

    Attributes:
        labels: the most probable class of each pixel, uint8 [h w].
        confidence: the probability of that class, float32 [h w] in [0, 1].
        entropy: of the probabilities of all classes, as a share of the largest possible, float32 [h w] in [0, 1];
            None if it was not asked for.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    entropy: NDArray[np.float32] | None


class Network(Protocol):
    """A trained network, in torch or in onnxruntime. Its arrays are of its own library; they support `@`, `*`, slices.

    Attributes:
        classes: the meaning of the k channels.
        resize: from the size of an image to the size that the network is trained at.
        stride: images are padded to a multiple of this.
        cells_per_stride: the network's own cells in so many pixels; None if its grid is not regular.
        memory: floats that fit well into memory at once.
        band: floats that are well computed at once.
    """

    classes: Classes
    resize: Resize

    @property
    def memory(self) -> int: ...

    @property
    def band(self) -> int: ...

    @property
    def stride(self) -> int: ...

    @property
    def cells_per_stride(self) -> int | None: ...

    def resized(self, pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """A whole picture [h w 3] at the given (height, width)."""

    def scores(self, images: NDArray[np.uint8], views: Sequence[View], grid: tuple[int, int] | None) -> Any:
        """The logits of images [b h w 3] of training size, up to a constant for each pixel.

        Args:
            images: uint8 RGB.
            views: of each image; the probabilities of several are averaged.
            grid: None: the logits are on the network's own grid. Otherwise they are at the size of the images, and
                their last row and column are repeated up to this (height, width).
        """

    def blank(self, shape: tuple[int, ...]) -> Any:
        """Zeros."""

    def own(self, array: NDArray[np.float32]) -> Any:
        """An array of numpy as one of the network's library."""

    def maps(self, rows: Any, columns: Side, entropy: bool) -> Maps:
        """The prediction for scores [k rows cells] of rows of the image, brought to its width."""
