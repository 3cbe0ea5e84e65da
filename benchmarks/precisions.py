"""Whether a training step is faster in bfloat16 than in float32 on this processor.

    OMP_NUM_THREADS=1 python benchmarks/precisions.py

The networks and crops are those of the presets for CPUs and of the searches in docs/results. Steps of `supervised` on
two images take turns in one process. A time is the processor's time for a step, which other programs on the machine
disturb less than the clock's. Rows are added to benchmarks/precisions.csv, and rows that are there already are skipped.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

import torch
from rich.console import Console

from cpu_steps import late_step, processor_seconds
from fewmask.study.origin import machine
from step import write_noise
from table import Table

NETS = {
    "deeplabv3plus-mobilenetv2_100": (256, 256),
    "deeplabv3plus-tf_efficientnet_lite0": (112, 160),
    "deeplabv3plus-resnet50": (256, 256),
    "unet-convnext_tiny": (256, 256),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(Path(__file__).parent / "precisions.csv", ("processor", "net"))
    processor = machine("32").split(",")[0]
    for net, size in NETS.items():
        if table.holds(processor=processor, net=net):
            continue
        arch, encoder = net.split("-")
        with tempfile.TemporaryDirectory() as folder:
            write_noise(Path(folder), size, 11)
            runs = {
                precision: late_step(
                    Path(folder), {"name": "supervised"}, {"arch": arch, "encoder": encoder}, precision
                )
                for precision in ("32", "bf16")
            }
            taken = processor_seconds(runs, args.repeats)
        seconds = {precision: median(values) for precision, values in taken.items()}
        row = {"processor": processor, "net": net, "crop": f"{size[0]}x{size[1]}"}
        row |= {"bf16_hardware": str(torch.cpu._is_avx512_bf16_supported())}
        row |= {"amx": str(torch.cpu._is_amx_tile_supported())}
        row |= {f"cpu_ms_{precision}": f"{1000 * value:.4g}" for precision, value in seconds.items()}
        table.append(row | {"ratio": f"{seconds['bf16'] / seconds['32']:.2f}"}, "32")
        Console().print(table.rows()[-1])


if __name__ == "__main__":
    main()
