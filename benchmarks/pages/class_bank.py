"""The parts of class_bank, each changed alone on CamVid."""

from collections.abc import Mapping
from math import sqrt
from statistics import stdev

import yaml

from fewmask.study.statistics import t_quantile
from pages.rows import BENCHMARKS, Rows, Values, by_draw, gain_over, load, mean, measurements, select
from pages.text import DATA_SETS, draws_table, score, signed, table

RECIPES = BENCHMARKS.parent / "recipes" / "ablations"
PSEUDO = ("pseudo", "pseudo_entropy", "pseudo_contrast", "all")
WITHOUT_PSEUDO = ("supervised", "entropy", "contrast", "entropy_contrast")
EARLIER = ("4096", "256 in 4 clusters")
CURVES = ("gradient", "near", "far", "concentration", "attended")


def values() -> Values:
    rows = load("ablations")
    default = select(rows, study="losses", row="all")
    losses = _study(rows, "losses")
    parts = _study(rows, "parts") | {"all": default}
    weights = _study(rows, "contrast_weight")
    weights = dict(list(weights.items())[:4]) | {"1e-1": default} | dict(list(weights.items())[4:])
    sizes = {"256 rows, the default": default} | _without(_study(rows, "bank_size"), EARLIER)
    attention = _study(rows, "attention")
    first = attention["0.01"]
    older = {"256 rows, the default": first} | _only(_study(rows, "bank_size"), EARLIER)
    newer = ("heads_on_batch_statistics", "constant_bank_weights prediction_selectors_rank")
    released = {"nothing": first} | _without(_study(rows, "released"), newer)
    released_newer = {"nothing": default} | _only(_study(rows, "released"), newer)
    views = _study(rows, "views")
    without = _study(rows, "parts")["teacher_features quality_filter"]
    return {
        "losses": draws_table(losses, "all", {"paper": _paper("losses")}),
        "parts": draws_table(parts, "all", {"paper": _paper("parts")}),
        "weights": draws_table(weights, "1e-1", {"paper": _paper("contrast_weight")}),
        "bank_sizes": draws_table(sizes, "256 rows, the default"),
        "bank_sizes_earlier": draws_table(older, "256 rows, the default"),
        "views": draws_table(views, "two views"),
        "views_gain": signed(gain_over(views["one view"], views["two views"], "test")),
        "attention": draws_table(attention | {"no attention": without}, "1"),
        "attention_gain": signed(gain_over(first, attention["1"], "test")),
        "attention_width": _attention_width(),
        "released": draws_table(released, "nothing"),
        "released_newer": draws_table(released_newer, "nothing"),
        "pseudo_range": _range(losses, PSEUDO),
        "no_pseudo_range": _range(losses, WITHOUT_PSEUDO),
        "contrast_adds": signed(gain_over(losses["all"], losses["pseudo_entropy"], "test")),
        "contrast_alone": signed(gain_over(losses["contrast"], losses["supervised"], "test")),
        "pseudo_gain": signed(gain_over(losses["pseudo"], losses["supervised"], "test")),
        "contrast": _contrast(rows),
        **_chance(rows, first),
    }


def _contrast(rows: Rows) -> str:
    """A table for each data set: scores of each way to make the contrast count, and what the contrast did."""
    curves = {(each["data"], each["row"]): each for each in measurements("contrast_curves")}
    tables = []
    for data, title in DATA_SETS.items():
        settings = _study(select(rows, data=data), "contrast")
        if settings:
            columns = {
                name: {row: curves[data, row][name] for row in settings if (data, row) in curves} for name in CURVES
            }
            tables.append(f"## {title}\n\n" + draws_table(settings, "no contrast", columns))
    return "\n\n".join(tables)


def _study(rows: Rows, name: str) -> dict[str, Rows]:
    """Its rows in the order of its recipe."""
    named = {row: select(rows, study=name, row=row) for row in yaml.safe_load((RECIPES / f"{name}.yaml").read_text())}
    return {row: each for row, each in named.items() if each}


def _without(named: Mapping[str, Rows], names: tuple[str, ...]) -> dict[str, Rows]:
    return {name: rows for name, rows in named.items() if name not in names}


def _only(named: Mapping[str, Rows], names: tuple[str, ...]) -> dict[str, Rows]:
    return {name: rows for name, rows in named.items() if name in names}


def _paper(name: str) -> dict[str, str]:
    """The paper's mIoU by the name of the row."""
    rows = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    return {row: "" if content["paper"] is None else str(content["paper"]) for row, content in rows.items()}


def _range(named: Mapping[str, Rows], names: tuple[str, ...]) -> str:
    means = [mean(named[name], "test") for name in names]
    return f"{min(means):.1f} to {max(means):.1f}"


def _attention_width() -> str:
    header = ["selectors", "share of the rows", "of the narrowest class", "share of the pixels", "weighted distance"]
    columns = ("rows", "rows_of_narrowest_class", "pixels", "distance")
    lines = [[row["selectors"], *(f"{float(row[name]):.3f}" for name in columns)] for row in measurements("attention")]
    return table(header, lines)


def _chance(rows: Rows, first: Rows) -> dict[str, str]:
    """Five seeds of one setting on the first draw."""
    seeds = [*select(first, draw="seed0"), *select(rows, study="chance")]
    scores = [list(by_draw(seeds, split).values()) for split in ("test", "val")]
    deviation = stdev(scores[0])
    header = ["", *(f"seed {row.run.seed}" for row in seeds), "standard deviation"]
    lines = [
        [split, *(f"{value:.2f}" for value in own), score(stdev(own))]
        for split, own in zip(("test", "val"), scores, strict=True)
    ]
    of_three = t_quantile(len(seeds) - 1) * deviation * sqrt(2 / 3)
    return {
        "chance": table(header, lines),
        "chance_deviation": score(deviation),
        "chance_of_two": score(deviation * sqrt(2)),
        "chance_of_three": score(of_three),
    }
