"""The demo over several draws of drawn street scenes."""

from statistics import fmean

from fewmask.study.results import ResultRow
from pages.rows import Rows, Values, by_draw, gain_over, load, mean, select
from pages.text import draws_table, score, signed


def values() -> Values:
    rows = _current(load("scenes"))
    named = {name: select(rows, row=name) for name in dict.fromkeys(row.row for row in rows)}
    supervised, bank = named["supervised"], named["class_bank"]
    run = rows[-1].run
    without, ours = by_draw(supervised, "test"), by_draw(bank, "test")
    return {
        "draws": draws_table(named, "supervised"),
        "steps": str(run.steps),
        "labels": run.labels,
        "network": run.network,
        "weights": "random weights" if run.weights == "none" else "pretrained weights",
        "num_draws": str(len(bank)),
        "supervised": score(mean(supervised, "test")),
        "class_bank": score(mean(bank, "test")),
        "supervised_sky": score(mean(supervised, "test", "sky")),
        "class_bank_sky": score(mean(bank, "test", "sky")),
        "step_ratio": f"{_rate(supervised) / _rate(bank):.1f}",
        "ahead": str(sum(ours[draw] > without[draw] for draw in ours)),
        "gain": signed(gain_over(bank, supervised, "test")),
        "augseg_gain": signed(gain_over(named["augseg"], supervised, "test")),
        "augseg_alone_gain": signed(gain_over(named["augseg, labels weighted alone"], supervised, "test")),
    }


def _current(rows: Rows) -> list[ResultRow]:
    """Those of the network and length of the newest one, with the defaults of today."""
    plain = select(rows, variant="")
    newest = plain[-1].run
    return select(plain, network=newest.network, weights=newest.weights, steps=newest.steps)


def _rate(rows: Rows) -> float:
    return fmean(row.cost.steps_per_second for row in rows)
