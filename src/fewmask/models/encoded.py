"""The output of a SegNet's encoder, which a method may perturb before the decoder reads it.

Feature dropout: Yang et al., Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic Segmentation (UniMatch),
CVPR 2023, https://arxiv.org/abs/2208.09910. Complementary masks of channels: Yang et al., UniMatch V2, TPAMI 2025,
https://arxiv.org/abs/2410.10777.
"""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor


class Encoded(NamedTuple):
    """The maps of a batch of images between encoder and decoder.

    This example drops whole channels, and decodes the clean and the changed maps in one pass:

        encoded = net.encode(images)
        dropped = encoded.changed(lambda maps: F.dropout2d(maps, 0.5))
        features = net.decode(Encoded.joined([encoded, dropped]))
    """

    maps: list[Tensor]
    """One float map [b d hs ws] for each level of the encoder, in order of depth. `mit` encoders have no level at half
    the size of the image, and give a map without channels in its place."""
    tokens: list[Tensor | None] | None = None
    """A vision transformer's prefix tokens [b n d] for each map, which DPT's decoder reads with the map."""
    image: Tensor | None = None
    """The normalized and padded images, if the encoder passes them on. Decoders read only their size."""

    def changed(self, change: Callable[[Tensor], Tensor]) -> "Encoded":
        """Applies the change to every map; tokens stay as they are."""
        return self._replace(maps=[change(maps) for maps in self.maps])

    def part(self, images: slice) -> "Encoded":
        """The maps and tokens of the given images of the batch."""
        return Encoded(
            [maps[images] for maps in self.maps],
            None if self.tokens is None else [None if tokens is None else tokens[images] for tokens in self.tokens],
            None if self.image is None else self.image[images],
        )

    @staticmethod
    def joined(parts: Sequence["Encoded"]) -> "Encoded":
        """Joins several batches that the same network encoded from images of the same size."""
        first = parts[0]
        of_maps = zip(*(part.tokens or repeat(None, len(part.maps)) for part in parts), strict=True)
        return Encoded(
            [torch.cat(maps) for maps in zip(*(part.maps for part in parts), strict=True)],
            None if first.tokens is None else [_joined(tokens) for tokens in of_maps],
            _joined([part.image for part in parts]),
        )


def _joined(tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(present) if present else None
