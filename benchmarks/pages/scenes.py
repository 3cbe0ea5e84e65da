"""The demo over several draws of drawn street scenes."""

from fewmask.study.results import ResultRow
from pages.rows import Rows, Values, gain_over, load, mean, select
from pages.text import draws_table, score, signed


def values() -> Values:
    rows = _current(load("scenes"))
    named = {name: select(rows, row=name) for name in dict.fromkeys(row.row for row in rows)}
    supervised, bank = named["supervised"], named["class_bank"]
    run = rows[-1].run
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
        "gain": signed(gain_over(bank, supervised, "test")),
    }


def _current(rows: Rows) -> list[ResultRow]:
    """Those of the network and length of the newest one, with the defaults of today."""
    plain = select(rows, variant="")
    newest = plain[-1].run
    return select(plain, network=newest.network, weights=newest.weights, steps=newest.steps)
