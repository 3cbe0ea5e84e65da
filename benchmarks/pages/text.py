"""Numbers and tables as Markdown."""

import math
from collections.abc import Iterable, Mapping, Sequence

from fewmask.study.statistics import Estimate
from pages.rows import Rows, by_draw, gain_over, has, mean

DATA_SETS = {"camvid": "CamVid", "idd_lite": "IDD-Lite", "neu_seg": "NEU-Seg"}
"""What pages call the data sets."""


def signed(value: Estimate) -> str:
    """`+0.9 (+0.6 to +1.3)`: the mean and its 95 % interval; of a single draw, the difference alone."""
    if math.isnan(value.low):
        return _with_sign(value.mean)
    return f"{_with_sign(value.mean)} ({_end(value.low)} to {_end(value.high)})"


def _with_sign(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if float(text) == 0 else text


def _end(value: float) -> str:
    """An end so near to 0 that one decimal would hide its side gets two."""
    return f"{value:+.2f}" if float(f"{value:.1f}") == 0 else f"{value:+.1f}"


def score(value: float) -> str:
    """A mIoU in a sentence."""
    return f"{value:.1f}"


def percent(share: float) -> str:
    """`13 %`."""
    return "none" if math.isnan(share) or share <= 0 else f"{100 * share:.0f} %"


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def draws_table(
    settings: Mapping[str, Rows], baseline: str, extra: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    """A line a setting: its score of every draw, the mean, and what it gains over the baseline on the same draws.

    Args:
        settings: rows by the name of the line; each line has its own draws of the same names.
        baseline: the name of the line that the others are compared with.
        extra: further columns: their cells by the name of the line.
    """
    splits = [split for split in ("test", "val") if all(has(rows, split) for rows in settings.values())]
    draws = sorted({draw for rows in settings.values() for draw in by_draw(rows, "test") if draw[1]})
    columns = extra or {}
    lines = []
    for name, rows in settings.items():
        own = [by_draw(rows, split) for split in splits]
        cells = [_cell([f"{scores[draw]:.2f}" for scores in own if draw in scores]) for draw in draws]
        means = _cell([f"{mean(rows, split):.2f}" for split in splits])
        gains = [_gain(rows, settings[baseline], split) if name != baseline else "" for split in splits]
        lines.append([name, *cells, means, *gains, *(cells.get(name, "") for cells in columns.values())])
    heads = [f"gain on {split}" for split in splits]
    return table(["", *(_draw_name(draw) for draw in draws), "mean", *heads, *columns], lines)


def _draw_name(draw: tuple[str, str, int]) -> str:
    return f"draw {draw[1].removeprefix('seed')}" if draw[2] == 0 or draw[1] == str(draw[2]) else f"seed {draw[2]}"


def _cell(scores: Sequence[str]) -> str:
    """Test, and val in brackets."""
    return f"{scores[0]} ({scores[1]})" if len(scores) == 2 else "".join(scores)


def _gain(rows: Rows, baseline: Rows, split: str) -> str:
    if not set(by_draw(rows, split)) & set(by_draw(baseline, split)):
        return ""
    return signed(gain_over(rows, baseline, split))
