"""validation_classes.csv: what every network makes of every class of val while a run trains."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from fewmask.errors import UserError
from fewmask.run.atomic import write_text
from fewmask.run.files import number_in, read_table, set_aside, table_text, whole_number_in
from fewmask.run.folder import RunFolder


class ClassScore(NamedTuple):
    """The scores of a class after some number of steps, in [0, 1]; NaN if val holds, or the network predicts, none.

    `precision` is the share of the pixels predicted as the class that are of it: how right a pseudo-label would be.
    """

    step: int
    network: str
    name: str
    iou: float
    precision: float


def read_class_scores(run: RunFolder) -> list[ClassScore]:
    """The scores so far, in order of the steps; empty if val was not scored.

    Raises:
        UserError: the file is damaged.
    """
    path = run.class_scores_file
    if not path.exists():
        return []
    return [
        ClassScore(
            whole_number_in(row, "step", path),
            row.get("network", ""),
            row.get("class", ""),
            number_in(row, "iou", path),
            number_in(row, "precision", path),
        )
        for row in read_table(path).rows
    ]


def class_scores_so_far(run: RunFolder, steps: Collection[int]) -> list[ClassScore]:
    """The scores of these steps, for a run that goes on. A damaged file is set aside, and none are known then.

    Raises:
        OSError: the file cannot be set aside.
    """
    if not steps:
        return []
    try:
        return [score for score in read_class_scores(run) if score.step in steps]
    except UserError:
        set_aside(run.class_scores_file)
        return []


def write_class_scores(run: RunFolder, scores: Sequence[ClassScore]) -> None:
    """Writes the table anew; raises OSError if it cannot be written."""
    columns = ("step", "network", "class", "iou", "precision")
    rows = [(step, network, name, f"{iou:.6g}", f"{right:.6g}") for step, network, name, iou, right in scores]
    write_text(run.class_scores_file, table_text(columns, [dict(zip(columns, row, strict=True)) for row in rows]))
