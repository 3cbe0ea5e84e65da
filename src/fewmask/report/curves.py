"""What the journal of a run shows: its losses, its scores on val, and what the method watches for every class."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from fewmask.report.chart import Chart, Scale, Spark, chart, spark, spark_height
from fewmask.report.entries import Entry
from fewmask.run.class_scores import ClassScore, read_class_scores
from fewmask.run.metrics import Curve, Metrics, read_metrics
from fewmask.run.validation import read_val_scores

_COST = {"step", "steps_per_second", "data_share", "memory_gib"}
_EXCESS = "pseudo_excess"
_UNIT = Scale(0.0, 1.0)


class Watched(NamedTuple):
    """The title of a watched value, and what it means for a reader."""

    title: str
    meaning: str


_KNOWN = {
    "precision": Watched(
        "Right on val",
        "of the pixels of val that the network behind the pseudo-labels takes for the class, the share that is of it, "
        "from 0 to 1: how right its pseudo-labels are.",
    ),
    "iou": Watched("IoU on val", "the IoU of the network that predicts, from 0 to 1."),
    _EXCESS: Watched(
        "Share of the pseudo-labels",
        "the class's share among the pseudo-labels over its share among the masks, by powers of ten from 0.01 to 100. "
        "At 1, the dotted line, both agree. Far above, the class takes over; far below, it vanishes.",
    ),
    "bank_filled": Watched("Bank filled", "the filled share of the class's rows in the memory bank, from 0 to 1."),
    "bank_concentration": Watched(
        "Likeness of its rows",
        "the length of the mean of the class's rows in the bank, from 0 to 1. At 1 all rows are the same: the class "
        "has collapsed into one point.",
    ),
    "bank_attended": Watched(
        "Rows attended", "the share of the class's rows in the bank that the attention uses, from 0 to 1."
    ),
    "attention_near": Watched("Attention, near", "the mean attention of pixels near to their class's rows."),
    "attention_far": Watched("Attention, far", "the mean attention of pixels far from their class's rows."),
    "confidence": Watched("Confidence", "the mean confidence of the pseudo-labels"),
    "sure": Watched("Sure", "the share of the unlabeled pixels of whose class the teacher is sure"),
    "kept": Watched("Pseudo-labels kept", "the share of pixels whose pseudo-label counts"),
    "threshold": Watched("Threshold", "the confidence from which a pseudo-label counts"),
    "pseudo_labeled": Watched("Pixels with a pseudo-label", "the share of pixels that has one"),
    "contrast_gradient": Watched("Contrast's gradient", "its share of the gradient on the features"),
    "learning_rate": Watched("Learning rate", "the rate of the recipe's optimizer"),
}


class Row(NamedTuple):
    """A class, and its curve for every watched value; None where the journal has none."""

    place: int
    sparks: list[Spark | None]


class ClassCurves(NamedTuple):
    """The values that are watched for every class, as a table of small curves.

    Attributes:
        columns: what each column is.
        references: the height of the dotted line in every column; None without one.
        rows: one for each class.
    """

    columns: list[Watched]
    references: list[float | None]
    rows: list[Row]


def read_journals(entries: Sequence[Entry]) -> list[Metrics]:
    """The metrics of every entry; raises UserError if a file is lost or damaged."""
    return [read_metrics(entry.run) for entry in entries]


def loss_charts(entries: Sequence[Entry], journals: Sequence[Metrics]) -> list[Chart]:
    """A chart for every loss of the first run, with the same loss of the other runs, and one of its learning rate."""
    charts = [
        _compared(f"loss: {column.removeprefix('loss/')}", "", column, entries, journals)
        for column in journals[0].columns
        if column.startswith("loss/")
    ]
    rate = _KNOWN["learning_rate"]
    return [found for found in (*charts, _compared(*rate, "learning_rate", entries, journals)) if found]


def watched_charts(entries: Sequence[Entry], journals: Sequence[Metrics], names: Sequence[str]) -> list[Chart]:
    """A chart for every single number that the method of the first run watches."""
    found = []
    for column in journals[0].columns:
        single = _class_of(column, names) is None and not column.startswith("loss/")
        if single and column not in _COST | {"learning_rate"}:
            title, meaning = _KNOWN.get(column, Watched(column, ""))
            found.append(_compared(title, meaning, column, entries, journals))
    return [each for each in found if each]


def score_chart(entries: Sequence[Entry]) -> Chart | None:
    """The mIoU on val while the runs trained, for every network; None if no run was scored then."""
    curves, styles = [], []
    for place, entry in enumerate(entries):
        scores = read_val_scores(entry.run)
        for network in dict.fromkeys(name for score in scores for name in score.miou):
            points = [(score.step, 100 * score.miou[network]) for score in scores]
            is_shipped, alone = network == entry.model.shipped, len(entry.model.networks) == 1
            curves.append(
                (
                    entry.recipe.method.name if alone else network,
                    Curve([step for step, _ in points], [value for _, value in points]),
                )
            )
            styles.append(place if is_shipped and place < 2 else 2 + place)
    return chart("mIoU on val, %", "", curves, max(entry.recipe.training.steps for entry in entries), styles)


def class_curves(entry: Entry, metrics: Metrics, names: Sequence[str]) -> ClassCurves | None:
    """The table of small curves: scores of every class on val, then what the method watches; None without both.

    Raises:
        UserError: the scores of the classes on val are damaged.
    """
    steps, scores = entry.recipe.training.steps, read_class_scores(entry.run)
    watched = dict.fromkeys(
        column.removesuffix(f"/{label}")
        for column in metrics.columns
        if (label := _class_of(column, names)) is not None
    )
    columns: list[tuple[Watched, Scale, float | None, list[Curve]]] = [
        (_KNOWN[key], _UNIT, None, [_scored(scores, network, name, key) for name in names])
        for key, network in (("precision", entry.teacher), ("iou", entry.model.shipped))
        if scores
    ]
    order = [*_KNOWN, *watched]
    for prefix in sorted(watched, key=order.index):
        scale = _scale_of(prefix, metrics, names)
        reference = spark_height(1.0, scale) if prefix == _EXCESS else None
        curves = [metrics.curve(f"{prefix}/{name}") for name in names]
        columns.append((_KNOWN.get(prefix, _unknown(prefix, scale)), scale, reference, curves))
    if not columns:
        return None
    rows = [
        Row(place, [spark(curves[place], steps, scale) for _, scale, _, curves in columns])
        for place in range(len(names))
    ]
    return ClassCurves([column[0] for column in columns], [column[2] for column in columns], rows)


def _scored(scores: Sequence[ClassScore], network: str, name: str, key: str) -> Curve:
    own = [score for score in scores if score.network == network and score.name == name]
    return Curve([score.step for score in own], [float(getattr(score, key)) for score in own])


def _unknown(prefix: str, scale: Scale) -> Watched:
    return Watched(prefix, f"as the journal calls it, from {scale.low:g} to {scale.high:g}.")


def _scale_of(prefix: str, metrics: Metrics, names: Sequence[str]) -> Scale:
    """One scale for all classes: [0, 1] where all values are within."""
    if prefix == _EXCESS:
        return Scale(0.01, 100.0, is_log=True)
    values = [v for name in names for v in metrics.curve(f"{prefix}/{name}").values if math.isfinite(v)]
    return Scale(min(0.0, *values, 0.0), max(1.0, *values, 1.0))


def _class_of(column: str, names: Sequence[str]) -> str | None:
    """The class of a column NAME/CLASS; None for another column. A class may hold a slash, so the longest is taken."""
    if column.startswith("loss/"):
        return None
    fitting = [name for name in names if column.endswith(f"/{name}")]
    return max(fitting, key=len, default=None)


def _compared(
    title: str, meaning: str, column: str, entries: Sequence[Entry], journals: Sequence[Metrics]
) -> Chart | None:
    curves = [
        (entry.recipe.method.name, metrics.curve(column)) for entry, metrics in zip(entries, journals, strict=True)
    ]
    return chart(title, meaning, curves, max(entry.recipe.training.steps for entry in entries))
