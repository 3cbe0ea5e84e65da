"""Finds the largest size that fits: on a GPU by trying, elsewhere by measuring small sizes before larger ones."""

from collections.abc import Callable, Sequence

from fewmask.training.fit.sizes import Size


def largest_that_runs(sizes: Sequence[Size], peak: Callable[[Size], int | None]) -> tuple[Size, int] | None:
    """The largest size that runs, and its peak in bytes; None if none does.

    Args:
        sizes: the sizes in falling order.
        peak: tries a size, and returns the bytes that it needs at its peak; None if there are too few.
    """
    for size in sizes:
        needed = peak(size)
        if needed is not None:
            return size, needed
    return None


def largest_within(sizes: Sequence[Size], peak: Callable[[Size], int], budget: int) -> tuple[Size, int] | None:
    """The largest size whose measured peak is within the budget, and its peak in bytes; None if none is.

    A size that is too large would have the system end the process. So the smallest is measured first. A larger one is
    measured only if it is expected to fit: by the line through two measured sizes, or before there are two, in
    proportion to the pixels, which expects too much.

    Args:
        sizes: the sizes in falling order.
        peak: measures the bytes that a size needs at its peak.
        budget: bytes.
    """
    rising = sorted(set(sizes), key=lambda size: size.pixels)
    best = rising.pop(0)
    found = peak(best)
    if found > budget:
        return None
    known = [(best.pixels, found)]
    while rising:
        expected = _expectation(known)
        fitting = [size for size in rising if expected(size.pixels) <= budget]
        if not fitting:
            break
        size = fitting[-1]
        needed = peak(size)
        if needed > budget:
            rising = [other for other in rising if other.pixels < size.pixels]
            continue
        best, found = size, needed
        known.append((size.pixels, needed))
        rising = [other for other in rising if other.pixels > size.pixels]
    return best, found


def _expectation(known: Sequence[tuple[int, int]]) -> Callable[[int], float]:
    """The bytes that are expected for a number of pixels."""
    pixels, needed = known[-1]
    if len(known) == 1:
        return lambda larger: needed * larger / pixels
    slope = max(0.0, (needed - known[0][1]) / (pixels - known[0][0]))
    return lambda larger: needed + slope * (larger - pixels)
