"""Plots of the benchmark tables for docs/: mIoU on CamVid and of all methods, and time and memory of the contrast.

The plots of mIoU are over the length of a run and over the share of labels.

python benchmarks/plots.py
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewmask.study.results import ResultRow, ResultTable
from pages.fewmask_bench import comparisons
from table import read_table

HERE = Path(__file__).parent
LOOKS = {
    "supervised": ("supervised, 12 masks", "#8a8f98", "o"),
    "class_bank": ("class_bank, 12 masks + 355 images", "#2456c8", "s"),
    "supervised_all": ("supervised, all 367 masks", "#1e9e6a", "^"),
}
STARTS = {"random": "random weights", "imagenet": "ImageNet weights"}
MASKS = {12: "1/30", 46: "1/8", 92: "1/4"}
COLORS = {"none": "#8a8f98", "within": "#2456c8", "cross": "#1e9e6a", "batch": "#c8641e"}
STYLES = {"": ("-", "o"), "+round": ("--", "s"), "+class_bank": (":", "^")}


def main() -> None:
    # One split alone: the number of splits differs between lengths, and a mean over splits would change with it.
    # `attention1` names rows from when it was the default; a newer row is drawn instead if there is one.
    variants = ("", "attention1")
    rows = [row for row in rows_of("camvid") if row.run.variant in variants and row.run.draw in ("seed0", "")]
    draw_camvid(sorted(rows, key=lambda row: row.run.variant, reverse=True))
    draw_label_contrast(rows_of("label_contrast"))
    draw_methods()
    draw_contrast(read_table(HERE / "contrast.csv"))
    draw_steps(read_table(HERE / "gpu_steps.csv"))


def draw_camvid(rows: list[ResultRow]) -> None:
    """Draws mIoU over the length of a run, on test and val."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True)
    for axis, split in zip(axes, ("test", "val"), strict=True):
        for method, (label, color, marker) in LOOKS.items():
            points = {row.run.steps: row.score(split) for row in rows if row.row == method}
            if points:
                axis.plot(*zip(*sorted(points.items()), strict=True), color=color, marker=marker, label=label)
        axis.set(title=f"CamVid {split}, first split", xlabel="steps of the run", ylabel="mIoU (%)", xscale="log")
        axis.set_xticks(sorted({row.run.steps for row in rows}), minor=False)
        axis.get_xaxis().set_major_formatter("{x:.0f}")
        axis.minorticks_off()
    save(figure, axes, "camvid.png")


def draw_label_contrast(rows: list[ResultRow]) -> None:
    """Draws mIoU over the number of masks, one panel per start, with network, sizes, steps and variant of most rows."""
    setting = Counter(map(_setting, rows)).most_common(1)[0][0]
    rows = [row for row in rows if _setting(row) == setting]
    starts = [start for start in STARTS if any(_start(row) == start for row in rows)]
    measured = {row.row for row in rows}
    names = [name for name in (loss + after for after in STYLES for loss in COLORS) if name in measured]
    figure, panels = plt.subplots(1, len(starts), figsize=(5.5 * len(starts), 5), sharey=True, squeeze=False)
    for axis, start in zip(panels[0], starts, strict=True):
        for place, name in enumerate(names):
            own = [row for row in rows if _start(row) == start and row.row == name]
            _draw_over_masks(axis, own, name, shift=1.05 ** (place - (len(names) - 1) / 2))
        axis.set(title=f"CamVid test, from {STARTS[start]}", xlabel="masks", xscale="log", xlim=(9, 125))
        axis.set_xticks(list(MASKS), [f"{count}\n{share}" for count, share in MASKS.items()])
        axis.minorticks_off()
    panels[0, 0].set_ylabel("mIoU (%)")
    note = "mean and range of three splits; hollow: of fewer"
    figure.suptitle("{}, {} steps, resize {}, crop {} {}\n{}".format(*setting, note), fontsize=8)
    save(figure, panels.flatten(), "label_contrast.png")


def _setting(row: ResultRow) -> tuple[object, ...]:
    return row.run.network, row.run.steps, row.run.resize, row.run.crop, row.run.variant


def _start(row: ResultRow) -> str:
    return "random" if row.run.weights == "none" else "imagenet"


def _draw_over_masks(axis: Axes, rows: list[ResultRow], name: str, shift: float) -> None:
    loss, plus, after = name.partition("+")
    (line, marker), color = STYLES[plus + after], COLORS[loss]
    scores = {count: [row.score("test") or 0 for row in rows if row.run.labels == str(count)] for count in MASKS}
    points = [(count * shift, values) for count, values in scores.items() if values]  # so that lines stay apart
    whole = [(x, sum(values) / len(values)) for x, values in points if len(values) >= 3]  # a line joins like with like
    axis.plot([x for x, _ in whole], [y for _, y in whole], line, color=color, marker=marker, label=name)
    for x, values in points:
        axis.vlines(x, min(values), max(values), color=color, linewidth=1)
        if len(values) < 3:
            axis.plot(x, sum(values) / len(values), color=color, marker=marker, markerfacecolor="white")


def draw_methods() -> None:
    """Draws the scores of all methods over the number of masks, and their gains, for each comparison of them."""
    for compared in comparisons():
        for kind, figure in compared.figures().items():
            figure.savefig(HERE.parent / "docs" / compared.picture(kind), dpi=100, bbox_inches="tight")


def draw_contrast(rows: list[dict[str, str]]) -> None:
    """Draws milliseconds and MiB of forward and backward over pixels and over bank rows; one file per device."""
    for device in sorted({row["device"] for row in rows}):
        figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex="col", sharey="row")
        for column, (size, label, fixed) in enumerate(
            (("n", "pixels n", ("m", "256")), ("m", "rows m", ("n", "36864")))
        ):
            own = [row for row in rows if row["device"] == device and row[fixed[0]] == fixed[1]]
            own.sort(key=lambda row: int(row[size]))
            for axis, unit in zip(axes[:, column], ("ms", "mib"), strict=True):
                for name, color, marker in (("twin", "#8a8f98", "o"), ("ours", "#2456c8", "s")):
                    points = [(int(row[size]), float(row[f"{name}_{unit}"])) for row in own if row[f"{name}_{unit}"]]
                    axis.plot(*zip(*points, strict=True), color=color, marker=marker, label=name)
                axis.set(xscale="log", yscale="log")
            axes[0, column].set_title(f"{fixed[0]} = {fixed[1]}")
            axes[1, column].set_xlabel(label)
        axes[0, 0].set_ylabel("forward + backward (ms)")
        axes[1, 0].set_ylabel("memory beyond inputs (MiB)")
        save(figure, axes.flatten(), f"contrast_{device}.png")


def draw_steps(rows: list[dict[str, str]]) -> None:
    """Draws a step's milliseconds and images per second over the batch, as far as it was measured on a GPU."""
    nets = sorted({row["net"] for row in rows})
    if not nets:
        return
    figure, axes = plt.subplots(2, len(nets), figsize=(4.5 * len(nets), 6), sharex="col", squeeze=False)
    for column, net in enumerate(nets):
        for mode, color, marker in (
            ("eager", "#8a8f98", "o"),
            ("captured", "#2456c8", "s"),
            ("compiled", "#c8641e", "^"),
            ("compiled_captured", "#1e9e6a", "D"),
        ):
            own = [row for row in rows if (row["net"], row["mode"], row["method"]) == (net, mode, "class_bank")]
            own = sorted((row for row in own if row["precision"] != "32"), key=lambda row: int(row["batch"]))
            for axis, value in zip(axes[:, column], ("ms", "images_per_second"), strict=True):
                points = [(int(row["batch"]), float(row[value])) for row in own]
                axis.plot([x for x, _ in points], [y for _, y in points], color=color, marker=marker, label=mode)
                axis.set(xscale="log", ylim=(0, None))
        axes[0, column].set_title(f"class_bank, {net}, bfloat16")
        axes[1, column].set_xlabel("labeled images of a batch, and as many unlabeled ones")
    axes[0, 0].set_ylabel("a step (ms)")
    axes[1, 0].set_ylabel("images a second, from RAM")
    save(figure, axes.flatten(), "steps_cuda.png")


def rows_of(name: str) -> list[ResultRow]:
    """The trained runs of benchmarks/NAME.csv."""
    return ResultTable(HERE / f"{name}.csv").rows()


def save(figure: Figure, axes: Iterable[Axes], name: str) -> None:
    """Saves the finished picture in docs/."""
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False, fontsize=8)
    figure.savefig(HERE.parent / "docs" / name, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()
