"""One row for every trained run: what the run depends on, its scores, its cost and its origin.

A table is a CSV file with one line per run. The columns are the fields of `fewmask.study.key.Run`, which together are
the key, then `row`, `predictor` and `scores`, then the fields of `Cost` and `Origin`.

Scores share one column, because data sets have different classes and methods have different networks:
`test/student=46.18; test/teacher=47.02; test/student/Sky=88.57`. A name is split/network for the mean over classes and
split/network/class for one class. Means stand first, so a diff shows what people look for, and a table takes any set of
classes. With pandas, `frame["scores"].str.extract(r"(?:^|; )test/student=([^;]*)")[0].astype(float)` is a column again;
`ResultTable.rows` reads everything. Values are IoU in percent; an empty value is a class that the split does not hold.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fewmask.errors import UserError
from fewmask.study.key import Run
from fewmask.study.lines import append_line, whole_lines


class Place(NamedTuple):
    """Where a score was measured; `class_name` is empty for the mean over the classes."""

    split: str
    network: str
    class_name: str = ""


Scores = Mapping[Place, float | None]
"""IoU in percent; None for a class that the split does not hold."""


class Cost(NamedTuple):
    """The cost of a run."""

    seconds: int
    """Seconds of the training with the start of its process; for a resumed run, only its last part."""
    steps_per_second: float
    data_share: float
    """The share of the time in which the run waited for data."""
    memory_gib: float | None
    """The peak memory in GiB; None if it was not measured."""


class Origin(NamedTuple):
    """Where a row was measured, and when."""

    command: str
    commit: str
    machine: str
    date: str


class ResultRow(NamedTuple):
    """One trained run with its scores."""

    run: Run
    row: str
    """The name of the row in its study."""
    predictor: str
    """The network that predicts."""
    scores: Scores
    cost: Cost
    origin: Origin

    def score(self, split: str, network: str = "", class_name: str = "") -> float | None:
        """IoU in percent, of the network that predicts or of the named network.

        Raises:
            KeyError: the score was not measured.
        """
        return self.scores[Place(split, network or self.predictor, class_name)]


COLUMNS = (*Run._fields, "row", "predictor", "scores", *Cost._fields, *Origin._fields)


class ResultTable:
    """A CSV file of result rows. Rows are appended one by one, and a run that the file holds is not added again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[ResultRow]:
        """All rows of the file; a line that a killed process left half written is left out.

        Raises:
            UserError: the file is not such a table, or a line of it cannot be read.
        """
        content = whole_lines(self.path)
        if not content:
            return []
        reader = csv.reader(io.StringIO(content, newline=""))
        if tuple(next(reader)) != COLUMNS:
            fix = f"Choose another file. Columns of a table: {', '.join(COLUMNS)}."
            raise UserError("this is no table of results: it has other columns", self.path, fix)
        rows = []
        for values in reader:
            try:
                rows.append(_row(dict(zip(COLUMNS, values, strict=True))))
            except ValueError as error:
                where = f"{self.path}, line {reader.line_num}"
                raise UserError(f"this row cannot be read ({error})", where, "Correct or delete the line.") from None
        return rows

    def holds(self, run: Run) -> bool:
        """Whether the file holds the run already."""
        return any(row.run == run for row in self.rows())

    def append(self, row: ResultRow) -> bool:
        """Adds the row at the end of the file, unless the file holds its run; returns whether it was added."""
        if self.holds(row.run):
            return False
        append_line(self.path, COLUMNS, _values(row))
        return True


def scores_of(evaluated: Mapping[str, Any]) -> dict[Place, float | None]:
    """The scores of every network, from what `Model.evaluate` returns for a split."""
    split, scores = evaluated["split"], {}
    for network in evaluated["networks"]:
        scores[Place(split, network)] = _percent(evaluated[network]["miou"])
        scores |= {Place(split, network, name): _percent(iou) for name, iou in evaluated[network]["per_class"].items()}
    return scores


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)


def _values(row: ResultRow) -> list[str]:
    cost = (str(row.cost.seconds), *("" if value is None else f"{value:.4g}" for value in row.cost[1:]))
    return [*map(str, row.run), row.row, row.predictor, scores_as_text(row.scores), *cost, *row.origin]


def _row(texts: Mapping[str, str]) -> ResultRow:
    numbers = ("seed", "steps")
    run = Run._make(int(texts[name]) if name in numbers else texts[name] for name in Run._fields)
    rates = (float(texts[name]) for name in ("steps_per_second", "data_share"))
    memory = texts["memory_gib"]
    cost = Cost._make((int(texts["seconds"]), *rates, float(memory) if memory else None))
    origin = Origin._make(texts[name] for name in Origin._fields)
    return ResultRow(run, texts["row"], texts["predictor"], scores_from_text(texts["scores"]), cost, origin)


def scores_as_text(scores: Scores) -> str:
    """`test/student=46.18; test/student/Sky=88.57`: means first, values with two decimals, in the order given."""
    means_first = sorted(scores, key=lambda place: bool(place.class_name))
    return "; ".join(
        "/".join(_quoted(part) for part in place if part) + "=" + ("" if value is None else f"{value:.2f}")
        for place in means_first
        for value in [scores[place]]
    )


def scores_from_text(text: str) -> dict[Place, float | None]:
    """The scores that `scores_as_text` wrote.

    Raises:
        ValueError: the text has another form.
    """
    scores = {}
    for entry in filter(None, text.split("; ")):
        name, equals, value = entry.partition("=")
        parts = [_unquoted(part) for part in name.split("/")]
        if not equals or not 2 <= len(parts) <= 3:
            raise ValueError(f"{entry!r} is no score")
        scores[Place._make([*parts, ""][:3])] = float(value) if value else None
    return scores


_SPECIAL = {"%": "%25", "/": "%2F", "=": "%3D", ";": "%3B"}  # in names; % comes first, as it is in the others


def _quoted(name: str) -> str:
    for mark, code in _SPECIAL.items():
        name = name.replace(mark, code)
    return name


def _unquoted(name: str) -> str:
    for mark, code in reversed(_SPECIAL.items()):
        name = name.replace(code, mark)
    return name
