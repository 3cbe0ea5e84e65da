"""What benchmarks/gpu.sh does on a GPU is done here by a tiny network, so that nothing is tried out there first."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

import plots
from table import ROOT


@pytest.mark.slow
def test_the_dry_run_measures_every_mode_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = os.environ | {
        "PYTHON": sys.executable,
        "OUT": "",
        "COMPARE": "echo compared",
        "BENCHMARK_COMMIT": "abc1234",
    }
    dry = subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "gpu.sh"), "dry", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "compared" in dry.stdout
    with (tmp_path / "gpu_steps.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    modes = [(row["method"], row["mode"]) for row in rows]
    pairs = [("class_bank", mode) for mode in ("eager", "captured")]
    assert modes == [
        *pairs,
        *(("supervised", mode) for mode in ("eager", "captured", "compiled", "compiled_captured")),
    ]
    for row in rows:
        assert float(row["ms"]) > 0
        assert float(row["images_per_second"]) > 0
        assert row["note"] == "", "a captured mode fell back"
        assert row["commit"] == "abc1234"
        assert (row["mode"] == "eager") == (row["operations"] != "")
    monkeypatch.setattr(plots, "HERE", tmp_path / "benchmarks")
    (tmp_path / "docs").mkdir()
    plots.draw_steps([row | {"precision": "bf16"} for row in rows])
    assert (tmp_path / "docs" / "steps_cuda.png").stat().st_size > 0


def test_a_wrong_word_says_how_the_script_is_used() -> None:
    wrong = subprocess.run(["bash", str(ROOT / "benchmarks" / "gpu.sh")], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "benchmarks/gpu.sh run" in wrong.stdout
    syntax = subprocess.run(["bash", "-n", str(ROOT / "benchmarks" / "gpu.sh")], check=False)
    assert syntax.returncode == 0
