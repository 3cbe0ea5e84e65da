"""benchmarks/attention.py reads a finished run: its network, its bank and its selectors."""

from pathlib import Path

import pytest

import attention
from toy import command, write_recipe


def test_the_shares_of_a_run_are_shares(
    tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = {"name": "class_bank", "quality_filter": False, "bank_slots": 64, "warmup_share": 0.0}
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, method)
    assert command(capsys, "train", recipe, "--out", tmp_path / "run").code == 0
    monkeypatch.setattr(attention, "BATCHES", 2)
    still = attention.stand_still(tmp_path / "run")
    assert still.method.contrast.bank.filled.any()
    found = attention.figures(still, still.method.learner.heads)
    assert all(0 < float(found[name]) <= 1 for name in ("rows", "rows_of_narrowest_class", "pixels"))
    assert 0 <= float(found["plain"]) <= 2
