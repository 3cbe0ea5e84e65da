"""The size at which a network sees an image, from the size of the image on disk."""

from collections.abc import Sequence

Resize = float | tuple[int, int] | None
"""A factor, a (height, width), or None for the size on disk."""


def target_size(size: Sequence[int], resize: Resize) -> tuple[int, int]:
    """(height, width) after resizing, at least 1 x 1."""
    if isinstance(resize, tuple):
        return resize
    factor = 1.0 if resize is None else resize
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
