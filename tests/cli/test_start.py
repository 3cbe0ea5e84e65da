"""Commands that only print answer at once: they import none of the heavy libraries."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "timm", "segmentation_models_pytorch", "kornia", "lightning_fabric", "numpy"}
PROGRAM = """
import sys
from fewmask.cli import main
try:
    main()
finally:
    print(*sorted(name for name in sys.modules if "." not in name), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words", [["settings"], ["settings", "cutmix"], ["--help"], ["doctor", "--help"]], ids=" ".join
)
def test_a_command_that_only_prints_imports_no_heavy_library(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0
    assert done.stdout.count("\n") > 5
    imported = set(done.stderr.split())
    assert "typer" in imported
    assert not imported & HEAVY
