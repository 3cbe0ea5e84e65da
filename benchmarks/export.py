"""Exports every architecture of the catalog to ONNX, and compares the file with the network.

    python benchmarks/export.py [ARCHITECTURE ...]

The networks have random weights, three classes and a small encoder. The image has 517 x 403 pixels: it is much larger
than the one by which a network is traced, and its sides are no multiples of any stride. Rows go to
benchmarks/export.csv: the share of pixels with the same class, the largest difference of a probability, and the seconds
of an export. An architecture that cannot be exported has the reason in its row. A test fails if an architecture has no
row, or one whose classes differ. It does not export them all itself, because that takes minutes.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewmask.data.classes import Classes
from fewmask.errors import UserError
from fewmask.models.build import ARCHITECTURES, NetConfig, build_net
from fewmask.use.deployed import Deployed, probabilities
from fewmask.use.export.onnx import write_onnx
from fewmask.use.onnx_network import OnnxNetwork
from table import ROOT, Table

ENCODERS = {"dpt": "test_vit"}
"""The encoder of an architecture that takes no `test_resnet`."""
PIXELS = np.random.default_rng(0).integers(0, 256, (403, 517, 3), dtype=np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="*", default=list(ARCHITECTURES))
    args = parser.parse_args()
    table = Table(ROOT / "benchmarks" / "export.csv", ("architecture", "encoder"))
    for name in args.architectures:
        key = {"architecture": name, "encoder": ENCODERS.get(name, "test_resnet")}
        if not table.holds(**key):
            table.append(key | exported(**key), "32")


def exported(architecture: str, encoder: str) -> dict[str, Any]:
    """The measurements of one export."""
    torch.manual_seed(0)
    net = build_net(NetConfig(arch=architecture, encoder=encoder, weights="none"), 3)
    deployed = Deployed(net, None, Classes(names=("one", "two", "three"))).eval()
    with tempfile.TemporaryDirectory() as folder:
        path, begin = Path(folder) / "model.onnx", time.process_time()
        try:
            write_onnx(deployed, architecture, path)
        except UserError as error:
            return {"agreement": "", "difference": "", "cpu_seconds": "", "reason": error.what}
        seconds = time.process_time() - begin
        found = OnnxNetwork(path, "cpu").run("probabilities", PIXELS[None])[0]
    expected = probabilities(deployed, torch.from_numpy(PIXELS).permute(2, 0, 1)).numpy()
    agreement = float((found.argmax(axis=0) == expected.argmax(axis=0)).mean())
    difference = float(np.abs(found - expected).max())
    return {
        "agreement": f"{agreement:.6f}",
        "difference": f"{difference:.1e}",
        "cpu_seconds": f"{seconds:.1f}",
        "reason": "",
    }


if __name__ == "__main__":
    main()
