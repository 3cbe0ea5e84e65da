"""metrics.csv: the losses and other values of a run, one row every `training.log_every` steps."""

import csv
from collections.abc import Mapping
from typing import NamedTuple

from fewmask.run.atomic import write_text
from fewmask.run.files import number_in, read_table, table_text
from fewmask.run.folder import RunFolder


class Curve(NamedTuple):
    """The values of one column over the steps, without the rows in which the column has no value."""

    steps: list[int]
    values: list[float]


class Metrics(NamedTuple):
    """The table as numbers.

    Attributes:
        columns: `step`, `loss/TERM` for each term, `learning_rate`, the values that the method watches (`NAME/CLASS`
            for each class), `steps_per_second`, `data_share` (the share of the time spent waiting for batches),
            `memory_gib` (the peak).
        rows: the values of each row by column; a value that the row lacks is left out.
    """

    columns: tuple[str, ...]
    rows: list[dict[str, float]]

    def curve(self, column: str) -> Curve:
        """The values of a column; empty if there is no such column."""
        points = [(int(row["step"]), row[column]) for row in self.rows if column in row]
        return Curve([step for step, _ in points], [value for _, value in points])


def read_metrics(run: RunFolder) -> Metrics:
    """The metrics of a run so far; a row that is only half written is left out.

    Raises:
        UserError: the file is lost or damaged.
    """
    path = run.metrics_file
    columns, lines = read_table(path)
    rows = [
        {column: number_in(line, column, path) for column in ("step", *columns) if column == "step" or line[column]}
        for line in lines
    ]
    return Metrics(tuple(columns), rows)


class MetricsWriter:
    """Adds rows to metrics.csv.

    Args:
        run: the run whose file it is.
        first: steps already done; rows of later steps, which an interrupted run has left, are dropped.

    Raises:
        OSError: the file cannot be written, now or later.
        UserError: the file is damaged.
    """

    def __init__(self, run: RunFolder, first: int) -> None:
        self._path = run.metrics_file
        self._columns: list[str] = []
        rows: list[dict[str, str]] = []
        if self._path.is_file():
            self._columns, rows = read_table(self._path)
            rows = [row for row in rows if number_in(row, "step", self._path) <= first]
        write_text(self._path, table_text(self._columns, rows))

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one row after `step` steps. A new value gets a new column, and the table is written again for it."""
        row = {"step": str(step)} | {name: f"{value:.6g}" for name, value in values.items()}
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns = [*self._columns, *new]
            write_text(self._path, table_text(self._columns, read_table(self._path).rows))
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)
