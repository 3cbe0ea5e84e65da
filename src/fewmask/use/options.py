"""Words of a command about prediction, as values."""

from collections.abc import Sequence

from fewmask.errors import UserError, choices
from fewmask.use.network import PLAIN, View, augmented_views
from fewmask.use.results import KINDS


def kinds_of(text: str) -> list[str]:
    """The kinds of results in `masks,entropy`; raises UserError if one is not known, or there is none."""
    kinds = [word.strip() for word in text.split(",") if word.strip()]
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"there is no result {kind!r}", "--write", f"Choose of {choices(kind, KINDS)}.")
    if not kinds:
        raise UserError("nothing is to be written", "--write", f"Choose of {', '.join(KINDS)}.")
    return kinds


def views_of(tta: bool, scales: str) -> Sequence[View]:
    """The views of test-time augmentation at the scales in `0.75,1,1.25`; the image as it is without it."""
    if not tta:
        return PLAIN
    try:
        factors = [float(word) for word in scales.split(",") if word.strip()]
    except ValueError:
        factors = []
    if not factors or not all(0.1 <= factor <= 10 for factor in factors):
        raise UserError(f"{scales!r} is no list of scales", "--tta-scales", "Write factors of 0.1 to 10, as in 0.75,1.")
    return augmented_views(factors)
