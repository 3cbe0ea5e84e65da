"""metrics.csv: the losses and other values of a run, one row every `training.log_every` steps."""

import csv
from collections.abc import Callable, Mapping
from typing import NamedTuple

from fewmask.errors import UserError
from fewmask.run.atomic import write_text
from fewmask.run.files import Table, number_in, read_table, set_aside, table_text, whole_number_in
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
    """Adds rows to metrics.csv. A file that another program has damaged is set aside, and a new one is begun.

    Args:
        run: the run whose file it is.
        first: steps already done; rows of later steps, which an interrupted run has left, are dropped.
        warn: called with a sentence for people when a file is set aside.

    Raises:
        OSError: the file cannot be written, now or later.
    """

    def __init__(self, run: RunFolder, first: int, warn: Callable[[str], None]) -> None:
        self._path, self._warn = run.metrics_file, warn
        self._columns, rows = self._kept()
        rows = [row for row in rows if number_in(row, "step", self._path) <= first]
        write_text(self._path, table_text(self._columns, rows))

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one row after `step` steps. A new value gets a new column, and the table is written again for it."""
        row = {"step": str(step)} | {name: f"{value:.6g}" for name, value in values.items()}
        if not row.keys() <= set(self._columns) or not self._path.exists():
            columns, rows = self._kept()
            self._columns = list(dict.fromkeys([*columns, *row]))
            write_text(self._path, table_text(self._columns, rows))
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)

    def _kept(self) -> Table:
        """What the file holds; empty if there is none, or none that can be read."""
        if not self._path.exists():
            return Table([], [])
        try:
            table = read_table(self._path)
            for row in table.rows:
                whole_number_in(row, "step", self._path)
        except UserError as mistake:
            aside = set_aside(self._path)
            self._warn(
                f"{mistake.what[:1].upper()}{mistake.what[1:]}: {self._path} is kept as {aside.name} and begun anew."
            )
            return Table([], [])
        return table
