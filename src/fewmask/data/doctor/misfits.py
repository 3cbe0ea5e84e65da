"""Names the masks that do not fit their image, the worst first, judged against how the others fit."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fewmask.data.doctor.problem import Problem

_FEWEST = 6  # masks with a fit; fewer say nothing of what is usual
_CLEAR = 0.68  # where the masks have a higher median fit, a single one can be judged
_CHANCE = 0.57  # a lower median fit says that none fits
_MISFIT = 0.6  # a mask of another image rarely reaches this, and one of its own image rarely falls below
_TURNED = 0.1  # by so much a mask fits better in one orientation than in the other
_SPREAD = 3.0  # quartile ranges below the first quartile in which a fit is still usual


class NamedFit(NamedTuple):
    """The path of a mask, and how it fits its image; see `Facts`."""

    file: str
    fit: float | None
    fit_in_file: float | None = None


def judge_fits(fits: Sequence[NamedFit]) -> Iterator[Problem]:
    """Masks whose borders lie where their image does not change."""
    for turned in fits:
        if turned.fit is not None and turned.fit_in_file is not None and turned.fit + _TURNED < turned.fit_in_file:
            text = "the mask fits its image only before the EXIF rotation of the image is applied"
            fix = "Turn the mask as the image is turned, or remove the orientation from the image."
            yield Problem("error", turned.file, f"{text} ({turned.fit_in_file:.2f} against {turned.fit:.2f})", fix)
    known = [mask for mask in fits if mask.fit is not None]
    if len(known) < _FEWEST:
        return
    values = np.array([mask.fit for mask in known])
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    if median < _CHANCE:
        text = f"the borders of the masks do not lie where their images change (fit {median:.2f}, chance is 0.50)"
        yield Problem("warning", "", text, "See whether every mask is that of its image, and is not turned or shifted.")
        return
    limit = min(_MISFIT, low - _SPREAD * (high - low)) if median >= _CLEAR else 0.0
    for mask in sorted(known, key=lambda one: one.fit or 0.0):
        if mask.fit is not None and mask.fit < limit:
            text = f"the mask does not fit its image: {mask.fit:.2f}, and {median:.2f} is usual"
            yield Problem(
                "warning", mask.file, text, "See whether it is that of this image, and is not turned or shifted."
            )
