"""Views of labeled images as papers have them that change no colors and paste no classes."""

from typing import Any


def own_views(scale_range: tuple[float, float] | None = None, flips: bool = True) -> dict[str, Any]:
    """The setting `weak` of such a paper, as in a recipe; it is for `Method.own`.

    Args:
        scale_range: range of the factor by which every image is scaled; None if no image is scaled.
        flips: whether half of the images are flipped.
    """
    views: dict[str, Any] = {"jitter_probability": 0.0, "classmix_probability": 0.0}
    views["scale_probability"] = 0.0 if scale_range is None else 1.0
    if scale_range is not None:
        views["scale_range"] = list(scale_range)
    if not flips:
        views["flip_probability"] = 0.0
    return views
