"""The geometry of small line charts: axes with round numbers, paths, and a name at the end of every line."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from fewmask.run.metrics import Curve

WIDTH, HEIGHT = 340.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 74.0, 12.0, 24.0  # margins; lines are named in the right one
_NAME_GAP = 13.0  # between two names
_SPARK = (150.0, 26.0)
_MOST_POINTS = 400


class Line(NamedTuple):
    """A line of a chart: an SVG path, its name, where the name stands, and the number of its style."""

    name: str
    path: str
    name_y: float
    end: tuple[float, float]
    style: int


class Tick(NamedTuple):
    """A mark of an axis: where, and its text."""

    at: float
    text: str


class Chart(NamedTuple):
    """A chart in units of its view box."""

    title: str
    meaning: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


class Spark(NamedTuple):
    """A line without axes, as it stands in a row of a table; all rows of a column have one scale."""

    path: str
    end: tuple[float, float]
    last: str


class Scale(NamedTuple):
    """The values of an axis from its low to its high end, linear or by powers of ten."""

    low: float
    high: float
    is_log: bool = False

    def share(self, value: float) -> float:
        """How far up the axis a value stands, in [0, 1]; values beyond an end stand there."""
        if self.is_log:
            value, low, high = math.log10(max(value, self.low)), math.log10(self.low), math.log10(self.high)
        else:
            low, high = self.low, self.high
        return min(max((value - low) / (high - low), 0.0), 1.0)


def chart(
    title: str, meaning: str, curves: Sequence[tuple[str, Curve]], steps: int, styles: Sequence[int] | None = None
) -> Chart | None:
    """The named curves over the steps of a run; None if no curve has a point.

    The axis begins at 0 unless a value is negative. `styles` are the numbers of the lines' styles; None: 0, 1, ...
    """
    styles = styles or range(len(curves))
    known = [
        (name, _thinned(curve), style)
        for (name, curve), style in zip(curves, styles, strict=True)
        if any(map(math.isfinite, curve.values))
    ]
    if not known:
        return None
    values = [value for _, curve, _ in known for value in curve.values if math.isfinite(value)]
    scale = Scale(-_round_up(-min(values)) if min(values) < 0 else 0.0, _round_up(max(values)))
    ends = [_point(curve.steps[-1], curve.values[-1], steps, scale) for _, curve, _ in known]
    heights = _apart([end[1] for end in ends])
    lines = [
        Line(name, _path(curve, steps, scale), height, end, style)
        for (name, curve, style), end, height in zip(known, ends, heights, strict=True)
    ]
    ticks = [scale.low, (scale.low + scale.high) / 2, scale.high]
    y_ticks = [Tick(_point(0, value, steps, scale)[1], short(value)) for value in ticks]
    x_ticks = [Tick(_point(step, scale.low, steps, scale)[0], f"{step}") for step in (0, steps)]
    return Chart(title, meaning, lines, x_ticks, y_ticks)


def spark(curve: Curve, steps: int, scale: Scale) -> Spark | None:
    """A curve for a row of a table; None if it has no point."""
    points = [(step, value) for step, value in zip(*_thinned(curve), strict=True) if math.isfinite(value)]
    if not points:
        return None
    width, height = _SPARK
    placed = [(3 + (width - 6) * step / steps, 3 + (height - 6) * (1 - scale.share(value))) for step, value in points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
    return Spark(path, placed[-1], short(points[-1][1]))


def spark_height(value: float, scale: Scale) -> float:
    """The height of a value in a spark."""
    return 3 + (_SPARK[1] - 6) * (1 - scale.share(value))


def short(value: float) -> str:
    """A number with three significant digits at most, without an exponent where it can be read without one."""
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _round_up(value: float) -> float:
    """The next of 1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if step * power >= value * 0.9999)


def _point(step: float, value: float, steps: int, scale: Scale) -> tuple[float, float]:
    x = LEFT + (WIDTH - LEFT - RIGHT) * step / max(steps, 1)
    return x, TOP + (HEIGHT - TOP - BOTTOM) * (1 - scale.share(value))


def _path(curve: Curve, steps: int, scale: Scale) -> str:
    """An SVG path, with a gap where a value is not finite."""
    parts, begins = [], True
    for step, value in zip(*curve, strict=True):
        if math.isfinite(value):
            x, y = _point(step, value, steps, scale)
            parts.append(f"{'M' if begins else 'L'}{x:.1f} {y:.1f}")
        begins = not math.isfinite(value)
    return "".join(parts)


def _apart(heights: Sequence[float]) -> list[float]:
    """Heights for names, moved apart so that none covers another."""
    placed = dict.fromkeys(range(len(heights)), 0.0)
    last = TOP - _NAME_GAP
    for index in sorted(range(len(heights)), key=lambda place: heights[place]):
        last = max(heights[index], last + _NAME_GAP)
        placed[index] = last
    over = max(0.0, last - (HEIGHT - BOTTOM + 4))
    return [placed[index] - over for index in range(len(heights))]


def _thinned(curve: Curve) -> Curve:
    """At most some hundred points, evenly spaced, with the first and the last."""
    count = len(curve.steps)
    if count <= _MOST_POINTS:
        return curve
    kept = sorted({round(place * (count - 1) / (_MOST_POINTS - 1)) for place in range(_MOST_POINTS)})
    return Curve([curve.steps[place] for place in kept], [curve.values[place] for place in kept])
