"""CamVid with 12 of 367 masks."""

from statistics import fmean

from fewmask.study.statistics import share_of_gap
from pages.rows import Rows, Values, gain_over, load, mean, measurements, select
from pages.text import draws_table, percent, score, signed, table

RARE = ("Bicyclist", "Fence", "Pedestrian", "SignSymbol", "Pole")
LENGTHS = (500, 1000, 2000, 4000)


def values() -> Values:
    rows = load("camvid")
    of_length = select(rows, steps=2000)
    supervised, bank = (select(of_length, row=name, variant="") for name in ("supervised", "class_bank"))
    everything = select(of_length, row="supervised_all")
    narrow, short = (select(of_length, variant=variant, row="class_bank") for variant in ("attention1", "warm1.3"))
    means = [mean(each, "test") for each in (bank, supervised, everything)]
    named = {"supervised": supervised, "class_bank": bank, "supervised, all 367 masks": everything}
    earlier = {"attention at a hundredth of the rate, the default": bank, "attention at the full rate": narrow}
    warm_up = {"warm-up of 15 % of the run, the default": narrow, "warm-up of 1.3 %": short}
    return {
        "draws": draws_table(named, "supervised"),
        "gain_test": signed(gain_over(bank, supervised, "test")),
        "gain_val": signed(gain_over(bank, supervised, "val")),
        "supervised": score(means[1]),
        "class_bank": score(means[0]),
        "all": score(means[2]),
        "behind_all": score(means[2] - means[0]),
        "gap": percent(share_of_gap(*means)),
        "classes": _classes(supervised, bank, everything),
        "gap_frequent": percent(_gap(supervised, bank, everything, rare=False)),
        "gap_rare": percent(_gap(supervised, bank, everything, rare=True)),
        "pseudo_labels": _pseudo_labels(),
        "wrong": _wrong(),
        "lengths": _lengths(rows),
        "attention": draws_table(earlier, next(iter(earlier))),
        "attention_gain": signed(gain_over(narrow, bank, "test")),
        "warm_up": draws_table(warm_up, next(iter(warm_up))),
        "warm_up_gain": signed(gain_over(narrow, short, "test")),
        "warm_up_gain_val": signed(gain_over(narrow, short, "val")),
        "single": _single(rows),
    }


def _names(everything: Rows) -> list[str]:
    frequency = {row["class"]: float(row["true_share"]) for row in measurements("pseudo_labels")}
    return sorted({place.class_name for place in everything[0].scores} - {""}, key=lambda name: -frequency[name])


def _classes(supervised: Rows, bank: Rows, everything: Rows) -> str:
    frequency = {row["class"]: row["true_share"] for row in measurements("pseudo_labels")}
    lines = []
    for name in _names(everything):
        base, ours, best = (mean(rows, "test", name) for rows in (supervised, bank, everything))
        closed = percent(share_of_gap(ours, base, best))
        lines.append([name, f"{float(frequency[name]):.1f} %", score(base), score(ours), score(best), closed])
    return table(["class", "of the pixels", "supervised", "class_bank", "all masks", "of the gap closed"], lines)


def _gap(supervised: Rows, bank: Rows, everything: Rows, rare: bool) -> float:
    names = [name for name in _names(everything) if (name in RARE) == rare]
    base, ours, best = (fmean(mean(rows, "test", name) for name in names) for rows in (supervised, bank, everything))
    return share_of_gap(ours, base, best)


_PSEUDO = ("true_share", "predicted_share", "recall", "precision", "weighted_precision")


def _pseudo_labels() -> str:
    header = ["class", "of the pixels", "predicted", "recall", "precision", "precision, weighted by confidence^6"]
    rows = sorted(measurements("pseudo_labels"), key=lambda row: -float(row["true_share"]))
    return table(header, [[row["class"], *(score(float(row[name])) for name in _PSEUDO)] for row in rows])


def _wrong() -> str:
    """The range over the rare classes of what the loss takes for the class and is not."""
    right = [float(row["weighted_precision"]) for row in measurements("pseudo_labels") if row["class"] in RARE]
    return f"{100 - max(right):.0f} to {100 - min(right):.0f} %"


def _lengths(rows: Rows) -> str:
    lines = []
    for steps in LENGTHS:
        cells = [str(steps)]
        own = select(rows, steps=steps, variant="", draw="seed0")
        own += [] if select(own, row="class_bank") else select(rows, steps=steps, variant="attention1", draw="seed0")
        own += select(rows, steps=steps, row="supervised_all")
        for name in ("supervised", "class_bank", "supervised_all"):
            cells += [f"{row.score('test'):.2f} ({row.score('val'):.2f})" for row in select(own, row=name)] or [""]
        lines.append([*cells, signed(gain_over(select(own, row="class_bank"), select(own, row="supervised"), "test"))])
    return table(["steps", "supervised", "class_bank", "supervised, all masks", "gain on test"], lines)


_SINGLE = {
    "supervised, learning rate 2e-3 instead of 1e-3": "lr2e-3",
    "supervised, encoder at a tenth of the rate": "enc0.1",
    "class_bank without contrast": "warm1.3+contrast0",
    "class_bank, confidence instead of its sixth power": "warm1.3+sharp1",
}


def _single(rows: Rows) -> str:
    lines = []
    for name, variant in _SINGLE.items():
        (row,) = select(rows, variant=variant)
        lines.append([name, f"{row.score('test'):.2f}", f"{row.score('val'):.2f}"])
    return table(["", "test", "val"], lines)
