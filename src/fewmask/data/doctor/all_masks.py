"""All masks of a data set together: what any classes would read in them, from their histograms alone."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from fewmask.data.classes import Classes
from fewmask.data.doctor.histogram import Counts
from fewmask.data.doctor.mask_facts import MaskFacts
from fewmask.data.masks import UNKNOWN
from fewmask.shapes import IGNORE

_FEW_INNER = 0.3  # a code of which fewer pixels are inside an area stands on edges only
_HARDLY_INNER = 0.05
_BLENDS = 3  # colors between two others come in such a number at least
_MANY_CODES = 10  # so many codes on edges come from a filter or from JPEG
_MOSTLY_BETWEEN = 0.7
_MAIN = 3.0  # times the mean share of a code: numbers of objects are spread evenly, blended edges have a main code
_COUNTS, _INNER, _BETWEEN = 1, 2, 3  # fields of a Histogram


class Masks:
    """All masks together, as far as advice needs them.

    Args:
        train: the masks to learn from; every class must be in one of them.
        others: further masks, which must be readable.
    """

    def __init__(self, train: Sequence[MaskFacts], others: Sequence[MaskFacts] = ()) -> None:
        self.train, self.all = tuple(train), (*train, *others)

    @cached_property
    def has_pages(self) -> bool:
        """Whether a mask has several pages, all of one size."""
        return any(mask.num_pages > 1 and mask.pages_match for mask in self.all)

    @cached_property
    def min_is_white(self) -> bool:
        """Whether a mask says that 0 is white."""
        return any(mask.min_is_white for mask in self.all)

    @cached_property
    def channels(self) -> list[str]:
        """The channels that every mask has and that differ from pixel to pixel."""
        kinds = [{reading.kind: found for reading, found in mask.histograms.items()} for mask in self.all]
        return [
            name
            for name in ("alpha", "red", "green", "blue")
            if kinds and all(name in of_mask for of_mask in kinds) and any(len(of[name].codes) > 1 for of in kinds)
        ]

    def pixels(self, classes: Classes) -> Counts | None:
        """Pixels of each label in the masks to learn from; None if a mask, of any split, cannot be read."""
        total = np.zeros(IGNORE + 1, dtype=np.int64)
        for position, mask in enumerate(self.all):
            labels = mask.labels(classes)
            if labels is None or labels[UNKNOWN]:
                return None
            total += labels if position < len(self.train) else 0
        return total

    def codes(self, classes: Classes) -> list[int]:
        """The codes of all masks where these classes have theirs, the most frequent first; empty if one has none."""
        total: Counter[int] = Counter()
        for mask in self.all:
            found = mask.histogram(classes)
            if found is None:
                return []
            total.update(dict(zip(found.codes.tolist(), found.counts.tolist(), strict=True)))
        return [code for code, _ in total.most_common()]

    def look_blended(self, classes: Classes) -> bool:
        """Whether the unknown codes come from smoothing, scaling or JPEG: they stand on edges, beside a main code."""
        found = [(of, np.isin(of.codes, mask.unknown(classes))) for mask in self.all if (of := mask.histogram(classes))]
        count, inner, between = (
            sum(int(of[field][unknown].sum()) for of, unknown in found) for field in (_COUNTS, _INNER, _BETWEEN)
        )
        if not count or inner >= _FEW_INNER * count:
            return False
        if between > _MOSTLY_BETWEEN * count:
            return True
        if classes.encoding == "rgb" and inner < _HARDLY_INNER * count:
            return len({int(code) for of, unknown in found for code in of.codes[unknown]}) >= _BLENDS
        many = [of for of, unknown in found if unknown.sum() >= _MANY_CODES]
        have_main = [
            len(of.codes) * of.counts[of.codes != 0].max() > _MAIN * of.counts[of.codes != 0].sum() for of in many
        ]
        return bool(2 * sum(have_main) > len(found))
