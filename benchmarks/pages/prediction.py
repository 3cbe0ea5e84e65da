"""Time and memory of a prediction, and what test-time augmentation and a committee give."""

from fewmask.study.statistics import Estimate
from pages.rows import Values, measurements
from pages.text import signed, table

VIEWS = ("flips", "flips and scales")


def values() -> Values:
    return {
        "time": _time(),
        "memory": _memory(),
        "tta": _tta(),
        "committee": _committee(),
        "export": _export(),
        **_seeds(),
    }


def _time() -> str:
    header = [
        "megapixels",
        "plain loop, s",
        "`predict`, s",
        "times as long",
        "ONNX, s",
        "times as long as PyTorch",
        "machine",
    ]
    columns = ("megapixels", "plain", "ours", "ratio", "onnx", "onnx_ratio", "machine")
    rows = [row for row in measurements("predict") if row["what"] == "time"]
    return table(header, [[row[name] for name in columns] for row in rows])


def _memory() -> str:
    rows = {(row["what"], int(row["megapixels"])): row["ours"] for row in measurements("predict")}
    names = {"memory": "MiB, CamVid's network", "memory of a tiny network": "MiB, a tiny network"}
    sizes = sorted({size for what, size in rows if what in names})
    lines = [[str(size), *(rows.get((what, size), "") for what in names)] for size in sizes]
    return table(["megapixels", *names.values()], lines)


def _export() -> str:
    lines = []
    for row in measurements("export"):
        found = [f"{100 * float(row['agreement']):.2f} %" if row["agreement"] else row["reason"], row["difference"]]
        lines.append([row["architecture"], row["encoder"], *found, row["cpu_seconds"]])
    return table(["architecture", "encoder", "same class", "largest difference", "seconds of the export"], lines)


def _tta() -> str:
    rows = measurements("tta")
    if not rows:
        return "It has not been measured yet."
    found = {tuple(row[name] for name in ("data", "masks", "method", "seed", "split", "views")): row for row in rows}
    lines = []
    for (*run, split, views), row in found.items():
        if views == "none":
            augmented = [found[*run, split, name] for name in VIEWS if (*run, split, name) in found]
            cells = [f"{other['miou']}, {_gain(other)}" for other in augmented]
            ratios = [other["time_ratio"] for other in augmented]
            lines.append([row["data"], row["masks"], row["method"], split, row["images"], row["miou"], *cells, *ratios])
    heads = [f"{name}, gain" for name in VIEWS] + [f"{name}, times as long" for name in VIEWS]
    return table(["data", "masks", "method", "split", "images", "mIoU", *heads], lines)


def _gain(row: dict[str, str]) -> str:
    mean, low, high = (float(row[name]) for name in ("gain", "gain_low", "gain_high"))
    return signed(Estimate(mean, low, high, int(row["images"])))


def _committee() -> str:
    rows = measurements("committee")
    if not rows:
        return "It has not been measured yet."
    names = ("data", "masks", "method", "split", "alone", "mean_alone", "together")
    lines = [[*(row[name] for name in names), f"{float(row['gain']):+.1f}"] for row in rows]
    return table(["data", "masks", "method", "split", "members alone", "their mean", "together", "gain"], lines)


def _seeds() -> Values:
    """What a committee gave on NEU-Seg by method, and how far the seeds of its members are apart on test."""
    rows = {(row["method"], row["split"]): row for row in measurements("committee") if row["data"] == "neu_seg"}
    values = {}
    for method in sorted({method for method, _ in rows}):
        for split in ("test", "val"):
            values[f"committee_{method}_{split}"] = f"{float(rows[method, split]['gain']):+.1f}"
        alone = [float(value) for value in rows[method, "test"]["alone"].split()]
        values[f"seeds_{method}"] = ", ".join(f"{value:.1f}" for value in sorted(alone))
    return values
