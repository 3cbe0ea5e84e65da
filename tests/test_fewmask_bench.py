"""The benchmark of all methods runs on small data, goes on, and its rows become a page and pictures."""

import shlex
import sys
from pathlib import Path

import pytest

import fewmask_bench
import plots
from comparing import Here
from fewmask.study.results import ResultTable
from pages import fewmask_bench as page
from pages import rows as pages_rows
from table import ROOT
from toy import NET, make_dataset

SMALL = f"""--sets camvid --seeds 0 --methods fixmatch --passes 0.4 --batch 2 --set net.arch=unet
'net.options={NET["options"]}' training.device=cpu training.precision=32 data.resize=1 data.crop=[32,32]"""


def test_rows_are_added_once_and_become_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_dataset(tmp_path / "data" / "camvid", labeled=4, unlabeled=2)
    for folder, count in (("1_30", 1), ("1_8", 2)):
        (data / "splits" / folder).mkdir(parents=True)
        (data / "splits" / folder / "seed0.txt").write_text("".join(f"train{number}\n" for number in range(count)))
    monkeypatch.setattr(fewmask_bench, "RESULTS", tmp_path)
    monkeypatch.setattr(pages_rows, "BENCHMARKS", tmp_path)
    monkeypatch.setattr(plots, "HERE", tmp_path / "benchmarks")
    arguments = f"{tmp_path / 'data'} --weights test_resnet=none --runs {tmp_path / 'runs'} {SMALL}"
    monkeypatch.setattr(sys, "argv", [str(ROOT / "benchmarks" / "fewmask_bench.py"), *shlex.split(arguments)])
    assert page.values()["comparisons"] == page.NO_ROWS
    for expected in (["measure", *["run"] * 7], []):
        launcher = Here()
        monkeypatch.setattr(fewmask_bench, "launcher_for", lambda *_, launcher=launcher: launcher)
        with pytest.raises(SystemExit) as ended:
            fewmask_bench.main()
        assert ended.value.code == 0
        assert ["measure" if name == "measure" else "run" for name in launcher.names] == expected

    rows = ResultTable(tmp_path / "fewmask_bench.csv").rows()
    assert [(row.row, row.run.labels) for row in rows] == [
        *(("supervised", "1"), ("supervised", "2"), ("fixmatch", "1"), ("fixmatch", "2")),
        *(("fixmatch own", "1"), ("fixmatch own", "2"), ("supervised", "all")),
    ]
    assert {row.run.steps for row in rows} == {1}  # 0.4 of 5 images, 2 in a batch
    assert rows[2].run.settings != rows[4].run.settings
    assert all(row.origin.command.startswith("python benchmarks/fewmask_bench.py ") for row in rows)

    text = page.values()["comparisons"]
    assert text.startswith("## CamVid, unet-test_resnet, 1 steps\n")
    assert "| fixmatch own | 2 |" in text
    assert "| supervised | 367, all |" in text
    (tmp_path / "docs").mkdir()
    plots.draw_methods()
    for picture in (tmp_path / "docs").iterdir():
        assert f"](../{picture.name})" in text
    assert len(list((tmp_path / "docs").iterdir())) == 2
