"""Every method on three data sets: the comparisons of benchmarks/fewmask_bench.py."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fewmask.study.compare.costs import Key, read_costs
from fewmask.study.compare.plots import gains, over_labels
from fewmask.study.compare.summary import Line, summarize
from fewmask.study.compare.tables import markdown, titled_tables
from fewmask.study.statistics import differences, estimate, gain
from pages import rows as results
from pages.rows import Values, by_draw, load, select
from pages.text import DATA_SETS, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STUDY, BASELINE, SCORED = "fewmask_bench", "supervised", "test"
SEARCH, CONFIRM = "search", "confirm"
"""The studies at half of the usual resolution: draws by which a default is looked for, and draws that test it."""
FEW, ENCODER = "12", "tf_efficientnet_lite0"
"""Which of their runs the page for users has gains of."""
DEFAULT, ALONE = "augseg", "augseg, labels weighted alone"
"""The default of `fewmask train`, and the same without class weights for pseudo-labels."""
NO_ROWS = "No rows stand yet."


class Compared(NamedTuple):
    """A comparison of methods on one data set with one network; `key` is that of its baseline."""

    key: Key
    lines: list[Line]

    def picture(self, kind: str) -> str:
        """The name of a picture in docs/."""
        encoder = self.key.network.partition("-")[2]
        return f"{STUDY}_{self.key.data}_{encoder}_{self.key.baseline_steps}_{self.key.budget}_{kind}.png"

    def figures(self) -> dict[str, "Figure"]:
        """The pictures by their kind."""
        return {"labels": over_labels(self.lines, BASELINE, SCORED), "gains": gains(self.lines, SCORED)}

    def section(self, *, pictures: bool = True, level: int = 2) -> str:
        """The tables under a heading of this level, and the pictures."""
        key = self.key
        budget = "" if key.budget == "steps" else f", an equal number of {key.budget}"
        title = f"{'#' * level} {DATA_SETS.get(key.data, key.data)}, {key.network}, {key.baseline_steps} steps{budget}"
        drawn = [f"![{kind}](../{self.picture(kind)})" for kind in ("labels", "gains")] if pictures else []
        tables = [f"{title}.\n\n{markdown(cells)}" for title, cells in titled_tables(self.lines, SCORED)]
        return "\n\n".join([title, *drawn, *tables])


def values() -> Values:
    texts = {"comparisons": "\n\n".join(compared.section() for compared in comparisons()) or NO_ROWS}
    for study in (SEARCH, CONFIRM):
        found = comparisons(study)
        level = 2 if study == SEARCH else 3
        texts[study] = "\n\n".join(compared.section(pictures=False, level=level) for compared in found) or NO_ROWS
        for compared in found:
            few = [line for line in compared.lines if line.labels == FEW]
            if compared.key.network.endswith(ENCODER):
                named = f"{study}_{compared.key.data}"
                for name, text in _gains(few).items():
                    texts[f"{named}_{compared.key.baseline_steps}_{name}"] = text
                    texts.setdefault(f"{named}_{name}", text)  # of the first length that was compared
    return texts | _of_default()


def _of_default() -> dict[str, str]:
    """What `augseg` gave over all draws of both studies: beside the baseline, and beside weights of labels alone."""
    few = [row for row in load(STUDY) if row.run.study in (SEARCH, CONFIRM) and row.run.labels == FEW]
    texts: dict[str, str] = {}
    for split in ("test", "val"):
        over_alone: list[float] = []
        for data in DATA_SETS:
            ours = select(few, data=data, row=DEFAULT)
            if not ours:
                continue
            same = {"data": data, "steps": ours[0].run.steps}
            scores, alone, baseline = (
                by_draw(select(few, row=row, **same), split) for row in (DEFAULT, ALONE, BASELINE)
            )
            gains_here = differences(scores, baseline)
            over_alone += differences(scores, alone)
            texts[f"default_{data}_{split}"] = signed(estimate(gains_here))
            texts[f"default_{data}_{split}_ahead"] = f"{sum(one > 0 for one in gains_here)} of {len(gains_here)}"
            texts[f"balance_{data}_{split}"] = signed(gain(scores, alone))
        if not over_alone:
            continue
        texts[f"balance_{split}"] = signed(estimate(over_alone))
        texts[f"balance_{split}_ahead"] = f"{sum(one > 0 for one in over_alone)} of {len(over_alone)}"
    return texts


def _gains(lines: Sequence[Line]) -> dict[str, str]:
    """What each method gave beside the baseline: by method and split, and `METHOD_times` as many minutes."""
    minutes = {line.labels: line.minutes for line in lines if line.row == BASELINE}
    texts: dict[str, str] = {}
    for line in lines:
        name = re.sub(r"\W+", "_", line.row)
        texts |= {f"{name}_{split}": signed(found) for split, found in line.gains.items()}
        if line.row != BASELINE and line.labels in minutes:
            texts[f"{name}_times"] = f"{line.minutes / minutes[line.labels]:.1f}"
    return texts


def comparisons(study: str = STUDY) -> list[Compared]:
    """Every comparison of a study of which rows stand, in the order in which they were begun."""
    rows = [row for row in load(STUDY) if row.run.study == study]
    costs = [cost for cost in read_costs(results.BENCHMARKS / f"{STUDY}_costs.csv") if not cost.failure]
    found = []
    for key in dict.fromkeys(cost.key._replace(row=BASELINE) for cost in costs if cost.study == study):
        own = {cost.row: cost for cost in costs if cost.key._replace(row=BASELINE) == key}
        compared = [
            row
            for row in rows
            if (row.run.data, row.run.network) == (key.data, key.network)
            and row.row in own
            and row.run.steps == own[row.row].steps
        ]
        num_masks = {"all": _num_images(key.data)}
        if compared:
            order = sorted(compared, key=lambda row: list(own).index(row.row))
            found.append(Compared(key, summarize(order, BASELINE, num_masks, own)))
    return found


def _num_images(data: str) -> int:
    """The number of train images of a data set."""
    return {"camvid": 367, "idd_lite": 1253, "neu_seg": 3480}.get(data, 0)
