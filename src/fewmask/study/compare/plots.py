"""The pictures of a comparison: scores over the number of masks, and gains over the baseline; as PNG and SVG."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewmask.errors import UserError
from fewmask.study.compare.summary import ALL, Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#000000")
"""Colors that people with any color vision tell apart (Okabe and Ito, Color Universal Design, 2008)."""
_MARKERS, _STYLES = ("o", "s", "^", "D", "v"), ("-", "--", ":")
_GRAY = "#777777"


def write_plots(lines: Sequence[Line], baseline: str, scored: str, folder: Path) -> list[Path]:
    """Writes labels.png, labels.svg, gains.png and gains.svg, and returns their paths.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: F401
    except ImportError:
        fix = "Install it, and give the same command again: pip install 'fewmask[plots]'"
        raise UserError("pictures are drawn by matplotlib, which is not installed", folder, fix) from None
    written = []
    for name, figure in (
        ("labels", over_labels(lines, baseline, scored)),
        ("gains", gains(lines, scored)),
    ):
        for suffix in ("png", "svg"):
            path = folder / f"{name}.{suffix}"
            figure.savefig(path, dpi=150, bbox_inches="tight", metadata={"Date": None} if suffix == "svg" else None)
            written.append(path)
    return written


def over_labels(lines: Sequence[Line], baseline: str, scored: str) -> "Figure":
    """A line for each method: mIoU over the number of masks, with the 95 % interval where there are several draws.

    The axis follows the means: of two draws, an interval may be longer than the picture.
    """
    from matplotlib.figure import Figure

    shown = [line for line in lines if scored in line.miou]
    drawn = [line for line in shown if line.labels != ALL]
    methods = list(dict.fromkeys(line.row for line in drawn))
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axis = figure.subplots()
    counts = sorted({line.num_masks for line in drawn})
    for place, name in enumerate(methods):
        own = [line for line in drawn if line.row == name]
        shift = 1 + 0.012 * (place - (len(methods) - 1) / 2)  # so that intervals do not hide each other
        axis.errorbar(
            [line.num_masks * shift for line in own],
            [line.miou[scored].mean for line in own],
            yerr=list(zip(*(_reach(line.miou[scored]) for line in own), strict=True)),
            label=name,
            markersize=5,
            capsize=2,
            elinewidth=0.8,
            **_look(name, methods, baseline),
        )
    for line in shown:
        if line.labels == ALL and line.row == baseline:
            axis.axhline(line.miou[scored].mean, color=_GRAY, linestyle=(0, (1, 2)), linewidth=1)
            text = f"{baseline}, all {line.num_masks} masks"
            place_of_text = (1, line.miou[scored].mean), (0, 3), axis.get_yaxis_transform(), "offset points"
            axis.annotate(text, *place_of_text, fontsize=8, ha="right")
    axis.set(xlabel="masks", ylabel=f"mIoU on {scored} (%)", xscale="log")
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.set_ylim(*_around([line.miou[scored].mean for line in shown], 0.2))
    if len(counts) == 1:
        axis.set_xlim(counts[0] / 1.5, counts[0] * 1.5)
    _plain(axis)
    if methods:
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8, ncols=1 + len(methods) // 20)
    return figure


def gains(lines: Sequence[Line], scored: str) -> "Figure":
    """A panel for each set of masks: bars of the gains over the baseline, the largest on top, with 95 % intervals."""
    from matplotlib.figure import Figure

    gained = [line for line in lines if scored in line.gains]
    labels = list(dict.fromkeys(line.labels for line in gained)) or [""]
    longest = max((sum(line.labels == each for line in gained) for each in labels), default=1)
    size = (4.2 * len(labels) + 1, 1.2 + 0.28 * max(longest, 1))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(labels), squeeze=False, sharex=True)[0]
    panels[0].set_xlim(*_around([0.0, *(line.gains[scored].mean for line in gained)], 0.5))
    for axis, name in zip(panels, labels, strict=True):
        own = sorted((line for line in gained if line.labels == name), key=lambda line: line.gains[scored].mean)
        means = [line.gains[scored].mean for line in own]
        axis.barh(
            range(len(own)),
            means,
            color=[_COLORS[0] if mean >= 0 else _COLORS[1] for mean in means],
            xerr=list(zip(*(_reach(line.gains[scored]) for line in own), strict=True)) or None,
            error_kw={"elinewidth": 0.8, "capsize": 2},
        )
        axis.set_yticks(range(len(own)), [line.row for line in own], fontsize=8)
        axis.axvline(0, color=_GRAY, linewidth=0.8)
        axis.set(title=f"{own[0].num_masks} masks" if own else "", xlabel=f"gain on {scored} (points of mIoU)")
        _plain(axis)
    return figure


def _look(name: str, methods: Sequence[str], baseline: str) -> dict[str, Any]:
    if name == baseline:
        return {"color": _GRAY, "marker": "o", "linestyle": "-", "linewidth": 2}
    place = [method for method in methods if method != baseline].index(name)
    return {
        "color": _COLORS[place % len(_COLORS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": _STYLES[place // len(_COLORS) % len(_STYLES)],
        "linewidth": 1.2,
    }


def _reach(value: Any) -> tuple[float, float]:
    """How far the interval reaches to either side of the mean; 0 without an interval."""
    return (0, 0) if math.isnan(value.low) else (value.mean - value.low, value.high - value.mean)


def _around(means: Sequence[float], share: float) -> tuple[float, float]:
    """The limits of an axis that shows all means, with room on both sides; longer intervals leave the picture."""
    low, high = min(means, default=0), max(means, default=0)
    room = max(1.0, share * (high - low))
    return low - room, high + room


def _plain(axis: Any) -> None:
    axis.grid(alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
