"""A store over image and mask files that decodes at every access."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

from fewmask.data.classes import Classes
from fewmask.data.images import read_image, read_size
from fewmask.data.masks import read_mask
from fewmask.data.sample import Sample
from fewmask.data.size import Resize, target_size
from fewmask.data.store.resize import resized_images, resized_labels
from fewmask.data.store.store import Picture
from fewmask.errors import UserError


class FileStore:
    """The pictures of samples, in the order of the samples.

    Args:
        samples: images with or without masks; a mask that is not given cannot be reached through the store.
        classes: how the masks are encoded.
        resize: applied once, after decoding. Images are resized bilinearly with antialiasing, labels to the nearest.
    """

    def __init__(self, samples: Sequence[Sample], classes: Classes, resize: Resize = None) -> None:
        self._samples, self._classes, self._resize = tuple(samples), classes, resize

    def __len__(self) -> int:
        return len(self._samples)

    def picture(self, place: int) -> Picture:
        """Decodes the files; raises UserError if one cannot be read, or if the mask and its image differ in size."""
        sample = self._samples[place]
        image = read_image(sample.image)
        labels = None if sample.mask is None else read_mask(sample.mask, self._classes)
        if labels is not None and labels.shape != image.shape[1:]:
            raise UserError(
                f"the mask is {_size(labels)} but its image {sample.image.name} is {_size(image)} (width x height)",
                sample.mask,
                "Export the mask again at the size of the image.",
            )
        return Picture(
            resized_images(image, self._resize), None if labels is None else resized_labels(labels, self._resize)
        )

    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture at training size, from the headers of the files."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            sizes = pool.map(read_size, (sample.image for sample in self._samples))
            return [target_size(size, self._resize) for size in sizes]


def _size(tensor: Tensor) -> str:
    height, width = tensor.shape[-2:]
    return f"{width} x {height}"
