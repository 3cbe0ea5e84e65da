"""The label of pixels that do not count, apart from what needs torch."""

IGNORE = 255
"""The label of a pixel that is ignored: outside the image, unknown, or void."""
