"""Plots of the benchmark tables for docs/: mIoU on CamVid over the length of a run.

python benchmarks/plots.py
"""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
LOOKS = {
    "supervised": ("supervised, 12 masks", "#8a8f98", "o"),
    "class_bank": ("class_bank, 12 masks + 355 images", "#2456c8", "s"),
    "supervised_all": ("supervised, all 367 masks", "#1e9e6a", "^"),
}


def main() -> None:
    with (HERE / "camvid.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["variant"]]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True)
    for axis, split in zip(axes, ("test", "val"), strict=True):
        for method, (label, color, marker) in LOOKS.items():
            points = scores_by_length(rows, method, f"{split}_student")
            if not points:
                continue
            lengths = sorted(points)
            axis.plot(lengths, [mean(points[n]) for n in lengths], color=color, marker=marker, label=label)
            low, high = [min(points[n]) for n in lengths], [max(points[n]) for n in lengths]
            axis.fill_between(lengths, low, high, color=color, alpha=0.15, linewidth=0)
        axis.set(title=f"CamVid {split}", xlabel="steps of the run", ylabel="mIoU (%)", xscale="log")
        axis.set_xticks(sorted({int(row["steps"]) for row in rows}), minor=False)
        axis.get_xaxis().set_major_formatter("{x:.0f}")
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(HERE.parent / "docs" / "camvid.png", dpi=150)


def scores_by_length(rows: list[dict[str, str]], method: str, column: str) -> dict[int, list[float]]:
    """Scores over the splits by number of steps; the band in the plot is their range."""
    points: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if row["method"] == method:
            points[int(row["steps"])].append(float(row[column]))
    return points


if __name__ == "__main__":
    main()
