"""Benchmarks find the rows that stand in their tables, and append those that do not, once."""

import csv
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import ablations
import camvid
import camvid_domain
import label_contrast
import runs
import scenes
import scenes_domain
from fewmask.study.results import COLUMNS, ResultTable
from table import ROOT

NAMES = ("ablations", "camvid", "camvid_domain", "fewmask_bench", "label_contrast", "scenes", "scenes_domain")
WEIGHTS = "weights/mobilenetv2_100_imagenet.safetensors"
SMALL = "--set data.resize=0.25 'data.crop=[96,128]' --contrast stride=4"
PRESENT = [
    (camvid, f"DATA --weights {WEIGHTS} --steps 2000"),
    (
        camvid,
        f"DATA --weights {WEIGHTS} --splits seed0 --methods supervised --variant lr2e-3 "
        "--set training.learning_rate=2e-3",
    ),
    (
        camvid_domain,
        f"DATA --weights {WEIGHTS} --labels 12 --seeds 1 --methods target_only class_bank class_bank_source",
    ),
    (camvid_domain, f"DATA --weights {WEIGHTS} --labels 3 --methods source_only --set training.precision=32"),
    (scenes, ""),
    (scenes_domain, "--labels 3 --seeds 0 1 2"),
    (
        label_contrast,
        f"DATA --weights {WEIGHTS} --variant stride4 --pretraining none batch+round none+class_bank {SMALL}",
    ),
    (
        label_contrast,
        f"DATA --weights {WEIGHTS} --variant stride4 --shares all --splits seed0 --pretraining none {SMALL}",
    ),
    (ablations, f"losses DATA --weights {WEIGHTS} --steps 500 --set data.resize=0.25 'data.crop=[88,120]'"),
    (ablations, f"methods DATA --weights {WEIGHTS} --steps 500 --set data.resize=0.25 'data.crop=[88,120]'"),
]  # commands of rows, with other places of data and weights


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Lists as long as those of the rows, and no images."""
    for share, count in {"1_30": 12, "1_8": 46, "1_4": 92}.items():
        folder = tmp_path / "data" / "splits" / share
        folder.mkdir(parents=True)
        for seed in range(3):
            (folder / f"seed{seed}.txt").write_text("image.png\n" * count)
    return tmp_path / "data"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that would have been trained, in a benchmark that draws no scenes."""
    folders: list[Path] = []

    class Process:
        def __init__(self, *_: object) -> None: ...

        def __enter__(self) -> "Process":
            return self

        def __exit__(self, *_: object) -> None: ...

        def submit(self, _: object, recipe: object, folder: Path) -> Any:
            folders.append(folder)
            return type("Done", (), {"result": lambda self: None})()

    class Trained:
        def evaluate(self, split: str) -> dict[str, Any]:
            own = {"miou": 0.5, "per_class": {"sky": 0.5}}
            return {"split": split, "predictor": "student", "networks": ["student"], "student": own}

    monkeypatch.setattr(runs, "ProcessPoolExecutor", Process)
    monkeypatch.setattr(runs, "load", lambda folder: Trained())
    monkeypatch.setattr(runs, "step_figures", lambda folder: (1.0, 0.5, 2.0))
    monkeypatch.setattr(scenes, "write_demo_scenes", lambda *_, **__: None)
    monkeypatch.setattr(scenes_domain, "write_scenes", lambda *_, **__: None)
    return folders


def _run(module: Any, arguments: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = str(ROOT / "benchmarks" / f"{module.__name__}.py")
    monkeypatch.setattr(sys, "argv", [script, *shlex.split(arguments.replace("DATA", str(data)))])
    module.main()


@pytest.mark.parametrize(("module", "arguments"), PRESENT, ids=[f"{m.__name__} {a}"[:70] for m, a in PRESENT])
def test_a_command_finds_its_rows(
    module: Any, arguments: str, data: Path, trained: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    shutil.copy(ROOT / "benchmarks" / f"{module.__name__}.csv", tmp_path)
    _run(module, arguments, data, monkeypatch)
    assert trained == []


def test_a_row_that_is_not_there_is_trained_and_added_once(
    data: Path, trained: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    shutil.copy(ROOT / "benchmarks" / "camvid.csv", tmp_path)
    before = ResultTable(tmp_path / "camvid.csv").rows()
    arguments = f"DATA --weights {WEIGHTS} --steps 2000 77 --splits seed1 --methods supervised --runs {tmp_path}"
    for _ in range(2):
        _run(camvid, arguments, data, monkeypatch)
    assert trained == [tmp_path / "supervised-seed1-77"]
    *old, new = ResultTable(tmp_path / "camvid.csv").rows()
    assert old == before
    assert (new.run.draw, new.run.labels, new.run.steps, new.score("val")) == ("seed1", "12", 77, 50.0)
    assert new.origin.command.startswith("python benchmarks/camvid.py ")


@pytest.mark.parametrize("name", NAMES)
def test_every_table_of_runs_has_the_one_schema_and_no_run_twice(name: str) -> None:
    path = ROOT / "benchmarks" / f"{name}.csv"
    assert path.read_text().partition("\n")[0] == ",".join(COLUMNS)
    rows = ResultTable(path).rows()
    assert len({row.run for row in rows}) == len(rows)


@pytest.mark.parametrize("name", NAMES)
def test_scores_per_class_are_those_of_the_network_that_predicts(name: str) -> None:
    for row in ResultTable(ROOT / "benchmarks" / f"{name}.csv").rows():
        places = [place for place in row.scores if place.split == "test" and place.network == row.predictor]
        classes = [iou for place in places if place.class_name and (iou := row.scores[place]) is not None]
        assert sum(classes) / len(classes) == pytest.approx(row.score("test"), abs=0.0105)


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.csv")), ids=lambda path: path.stem)
def test_commands_of_rows_name_no_folder_of_a_machine(path: Path) -> None:
    with path.open(newline="") as file:
        commands = {row.get("command") or "" for row in csv.DictReader(file)}
    words = [word for command in commands for word in re.split(r"[ =]", command)]
    assert [word for word in words if word.startswith("/")] == []
