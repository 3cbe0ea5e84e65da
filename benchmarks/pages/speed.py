"""Time, memory and operations of the parts of a step."""

from collections.abc import Mapping

from pages.rows import Values, measurements
from pages.text import table

PIXEL_LOSSES = ("within", "cross", "batch", "released within", "released cross")
NETS = {"r101": "DeepLabv2, ResNet-101, 512 x 512, 1 + 1 images", "mobilenet": "DeepLabv3+, MobileNetV2, 2 + 2 images"}
MIXING = ("cutmix", "classmix", "adversarial", "s4gan")
PRECISIONS = {"bf16": "bfloat16", "32": "float32"}


def values() -> Values:
    texts = {f"contrast_{device}": _contrast(device) for device in ("cpu", "cuda")}
    texts |= {f"paper_sizes_{device}": _at_paper_sizes(device) for device in ("cpu", "cuda")}
    texts |= {f"pixel_contrast_{device}": _pixel_contrast(device) for device in ("cpu", "cuda")}
    texts |= {f"speedups_{device}": _speedups(device) for device in ("cpu", "cuda")}
    texts |= {"flops": _flops(), "paper_steps": _paper_steps(), "captured": _captured()}
    texts |= {"cost_class_bank": _gpu_cost("class_bank"), "cost_mixing": _gpu_cost(*MIXING)}
    return texts | _steps() | _cpu_steps() | _presets() | _grouped_conv() | _precisions()


def _captured() -> str:
    rows = measurements("gpu_steps")
    if not rows:
        return "It has not run on a GPU yet."
    header = ["network", "batch", "method", "precision", "mode", "ms", "times eager", "busy", "images a second", "MiB"]
    columns = (
        "net",
        "batch",
        "method",
        "precision",
        "mode",
        "ms",
        "times_eager",
        "busy_share",
        "images_per_second",
        "mib",
    )
    lines = [[row[name] for name in columns] for row in rows]
    return "\n".join([table(header, lines), "", "![Time of a step over the batch](../steps_cuda.png)"])


def _contrast(device: str) -> str:
    rows = [row for row in measurements("contrast") if row["device"] == device]
    header = ["pixels", "rows a class", "ms", "ms, literal form", "times as fast", "MiB", "MiB, literal form"]
    columns = ("n", "m", "ours_ms", "twin_ms", "speedup", "ours_mib", "twin_mib")
    rows.sort(key=lambda row: (int(row["m"]), int(row["n"])))
    return table(header, [[row[name] for name in columns] for row in rows])


def _at_paper_sizes(device: str) -> str:
    (row,) = (r for r in measurements("contrast") if (r["device"], r["n"], r["m"]) == (device, "36864", "256"))
    return f"{float(row['ours_ms']):.1f} ms instead of {float(row['twin_ms']):.0f}"


def _speedups(device: str) -> str:
    speedups = [float(r["speedup"]) for r in measurements("contrast") if r["device"] == device and r["speedup"]]
    return f"{min(speedups):.0f} to {max(speedups):.0f} times"


def _pixel_contrast(device: str) -> str:
    rows = {(r["loss"], r["size"]): r for r in measurements("pixel_contrast") if r["device"] == device}
    lines = []
    for size in dict.fromkeys(size for _, size in rows):
        for what, cell in (("ms", _milliseconds), ("MiB", _mebibytes)):
            lines.append([f"{size} x {size}, {what}", *(cell(rows[loss, size]) for loss in PIXEL_LOSSES)])
    return table(["map", *PIXEL_LOSSES], lines)


def _milliseconds(row: Mapping[str, str]) -> str:
    direct = f" / {float(row['direct_ms']):.0f}" if row["direct_ms"] else ""
    return f"{float(row['ours_ms']):.0f}{direct}"


def _mebibytes(row: Mapping[str, str]) -> str:
    direct = f" / {float(row['direct_mib']):.0f}" if row["direct_mib"] else ""
    return f"{float(row['ours_mib']):.0f}{direct}"


def _steps() -> dict[str, str]:
    header = ["device", "step", "ms", "ms, branch written plainly", "ms without contrast"]
    header += ["contrast, by difference", "by stopwatch", "MiB"]
    lines: list[list[str]] = []
    branch: dict[str, list[float]] = {"cpu": [], "cuda": []}
    for row in measurements("step"):
        ours, twin, without = (float(row[f"{name}_ms"]) for name in ("ours", "twin", "without"))
        share = float(row["ours_contrast_share"])
        branch[row["device"]].append(share)
        name = f"{NETS[row['net']]}, {PRECISIONS[row['precision']]}"
        times = [f"{value:.0f}" for value in (ours, twin, without)]
        cells = [f"{100 * (ours - without) / ours:.0f} %", f"{100 * share:.1f} %", f"{float(row['ours_mib']):.0f}"]
        lines.append([row["device"], name, *times, *cells])
    texts = {f"branch_{device}": f"{100 * min(s):.0f} to {100 * max(s):.0f} %" for device, s in branch.items()}
    return texts | {"steps": table(header, lines)}


def _cpu_steps() -> dict[str, str]:
    rows = {row["step"]: row for row in measurements("cpu_steps")}
    lines = [[name, f"{float(row['cpu_ms']):.0f}", row["ratio"]] for name, row in rows.items()]
    one, two = (float(rows[name]["cpu_ms"]) for name in ("class_bank, one view", "class_bank"))
    return {
        "cpu_steps": table(["step of", "ms", "steps of supervised"], lines),
        "views_ratio": f"{100 * one / two:.0f} %",
    }


def _presets() -> dict[str, str]:
    rows = measurements("presets")
    columns = ("preset", "method", "network", "crop", "step_seconds", "steps", "run_hours")
    header = ["preset", "method", "network", "crop", "seconds of a step", "steps", "hours of a run"]
    hours = {(row["preset"], row["method"]): float(row["run_hours"]) for row in rows}
    return {
        "presets": table(header, [[row[name] for name in columns] for row in rows]),
        "small_hours": f"{hours['small', 'class_bank']:.1f}",
        "base_hours": f"{hours['base', 'class_bank']:.0f}",
    }


def _grouped_conv() -> dict[str, str]:
    header = ["", "map", "precision", "ms, PyTorch", "ms, here", "times as fast", "error, PyTorch", "error, here"]
    columns = ("what", "map", "precision", "conv2d_ms", "ours_ms", "speedup", "conv2d_error", "ours_error")
    rows = measurements("grouped_conv")
    steps = {(row["what"], row["precision"]): row for row in rows if row["what"].startswith("step of")}
    net = "deeplabv3plus-mobilenetv2_100"
    ours = [float(steps[f"step of {name}, {net}", "bf16"]["ours_ms"]) for name in ("class_bank", "supervised")]
    speedups = [float(row["speedup"]) for (_, precision), row in steps.items() if precision == "bf16"]
    return {
        "grouped_conv": table(header, [[row[name] for name in columns] for row in rows]),
        "step_ratio": f"{ours[0] / ours[1]:.1f}",
        "step_speedups": f"{min(speedups):.1f} to {max(speedups):.1f}",
    }


def _precisions() -> dict[str, str]:
    columns = ("processor", "amx", "net", "crop", "cpu_ms_32", "cpu_ms_bf16", "ratio")
    header = ["processor", "AMX", "network", "crop", "ms, float32", "ms, bfloat16", "bfloat16 over float32"]
    yes = {"True": "yes", "False": "no"}
    lines = [[yes.get(row[name], row[name]) for name in columns] for row in measurements("precisions")]
    return {"precisions": table(header, lines)}


def _flops() -> str:
    columns = ("variant", "gflops", "paper", "ratio")
    return table(["", "GFLOPs", "the paper's", "ratio"], [[r[name] for name in columns] for r in measurements("flops")])


def _paper_steps() -> str:
    rows = sorted(measurements("paper_steps"), key=lambda row: (row["recipe"], row["method"]))
    lines = [[r["recipe"], r["method"], f"{1000 * float(r['seconds']):.0f}", r["peak_mib"], r["machine"]] for r in rows]
    return table(["recipe", "method", "ms a step", "MiB", "machine"], lines)


def _gpu_cost(*methods: str) -> str:
    """How many times a step of `supervised` a step of these takes, by the recipes that were measured with both."""
    seconds = {(row["recipe"], row["method"]): float(row["seconds"]) for row in measurements("paper_steps")}
    ratios = [
        value / seconds[recipe, "supervised"]
        for (recipe, method), value in seconds.items()
        if method in methods and (recipe, "supervised") in seconds
    ]
    return f"{min(ratios):.1f} to {max(ratios):.1f}"
