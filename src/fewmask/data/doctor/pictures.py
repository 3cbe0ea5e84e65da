"""Judges each file alone: what cannot be read, sizes that differ, flat or several pictures, and masks among images."""

from collections.abc import Iterator, Sequence

from fewmask.data.doctor.copies import NamedPicture
from fewmask.data.doctor.picture_facts import FLAT_RANGE
from fewmask.data.doctor.problem import Problem
from fewmask.data.doctor.sample import Facts


def judge_picture(facts: Facts, image: str, mask: str) -> Iterator[Problem]:
    """What is wrong with the image and the mask of one sample, apart from the encoding of the mask.

    Args:
        facts: what was read of both files.
        image, mask: their paths in the data set.
    """
    for file, mistake in ((image, facts.picture_mistake), (mask, facts.mask_mistake)):
        if mistake is not None:
            yield Problem("error", file, *mistake)
    picture = facts.picture
    if picture is None:
        return
    if picture.num_pictures > 1:
        text = f"the file holds {picture.num_pictures} pictures, and only the first is read"
        yield Problem("warning", image, text, "Save each as a file of its own.")
    darkest, brightest = picture.levels
    if brightest - darkest < FLAT_RANGE:
        text = f"the picture is nearly flat: its levels are {darkest} to {brightest} of 0 to 255"
        fix = "Stretch 10- or 12-bit levels to the full range of 16 bits; remove an empty picture."
        yield Problem("warning", image, text, fix)
    if facts.mask is not None:
        yield from judge_sizes(mask, facts.mask.size, picture.size)


def judge_sizes(mask: str, mask_size: tuple[int, int], image_size: tuple[int, int]) -> Iterator[Problem]:
    """Sizes (height, width) of a mask and its image that differ."""
    if image_size == mask_size:
        return
    text = f"the mask is {_size_text(mask_size)} pixels, but its image {_size_text(image_size)}"
    fix = "Make both the same size; scale a mask with nearest neighbor only."
    if image_size == mask_size[::-1]:
        fix = "Turn the mask by 90 degrees: it was probably drawn before the EXIF rotation of the image was applied."
    yield Problem("error", mask, text, fix)


def judge_drawn(pictures: Sequence[NamedPicture]) -> Iterator[Problem]:
    """Images that look like masks: nothing can be learned from them as if they were photographs."""
    for picture in pictures:
        if picture.facts.looks_drawn:
            text = "the image looks like a mask: it has few colors, in flat areas"
            fix = "If it is a mask, move it to the masks and give it the name of its image. A drawing may stay."
            yield Problem("warning", picture.file, text, fix)


def _size_text(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width} x {height}"
