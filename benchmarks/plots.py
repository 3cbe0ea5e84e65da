"""Plots of the benchmark tables for docs/: mIoU on CamVid over the length of a run; time and memory of the contrast.

python benchmarks/plots.py
"""

import csv
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
LOOKS = {
    "supervised": ("supervised, 12 masks", "#8a8f98", "o"),
    "class_bank": ("class_bank, 12 masks + 355 images", "#2456c8", "s"),
    "supervised_all": ("supervised, all 367 masks", "#1e9e6a", "^"),
}


def main() -> None:
    # One split: a mean over splits would move with which of them are there at a length.
    draw_camvid([row for row in read(HERE / "camvid.csv") if not row["variant"] and row["split"] in ("seed0", "all")])
    draw_contrast(read(HERE / "contrast.csv"))


def draw_camvid(rows: list[dict[str, str]]) -> None:
    """mIoU over the length of a run, test and val."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True)
    for axis, split in zip(axes, ("test", "val"), strict=True):
        for method, (label, color, marker) in LOOKS.items():
            points = {int(row["steps"]): float(row[f"{split}_student"]) for row in rows if row["method"] == method}
            if points:
                axis.plot(*zip(*sorted(points.items()), strict=True), color=color, marker=marker, label=label)
        axis.set(title=f"CamVid {split}, first split", xlabel="steps of the run", ylabel="mIoU (%)", xscale="log")
        axis.set_xticks(sorted({int(row["steps"]) for row in rows}), minor=False)
        axis.get_xaxis().set_major_formatter("{x:.0f}")
        axis.minorticks_off()
    save(figure, axes, "camvid.png")


def draw_contrast(rows: list[dict[str, str]]) -> None:
    """Milliseconds and MiB of forward and backward over pixels and over bank rows; one file per device."""
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


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none where it has not been measured."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def save(figure: Figure, axes: Iterable[Axes], name: str) -> None:
    """The finished picture in docs/."""
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(HERE.parent / "docs" / name, dpi=150)


if __name__ == "__main__":
    main()
