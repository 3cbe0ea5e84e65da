"""A comparison goes on from where it stands, names what fails, and says what its rows say."""

import csv
import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from comparing import Finished, Here, compared, planned
from fewmask.errors import UserError
from fewmask.run.folder import RunFolder
from fewmask.study import compare as study_compare
from fewmask.study.compare import Comparison, Study
from fewmask.study.compare.folder import JobFolder, StudyFolder
from fewmask.study.compare.launchers import Cluster, Processes
from fewmask.study.compare.plan import rows_of
from fewmask.study.results import ResultTable
from fewmask.training import preset as preset_module
from fewmask.training.start import train_recipe
from toy import Child, assert_mistake, command, write_recipe

Capsys = pytest.CaptureFixture[str]


def test_every_run_is_a_row_of_the_one_schema_with_its_scores_and_cost(finished: Finished) -> None:
    rows = ResultTable(finished.out / "results.csv").rows()
    assert [(row.row, row.run.labels, row.run.draw, row.run.seed) for row in rows] == [
        ("supervised", "2", "0", 0),
        ("cutmix", "2", "0", 0),
        ("cps", "2", "0", 0),
        ("supervised", "all", "", 0),
    ]
    for row in rows:
        hidden = {"unlabeled"} if row.run.labels == "2" else set()
        assert {place.split for place in row.scores} == {"test", "val"} | hidden
        assert row.run.steps == 2
        assert row.cost.memory_gib
        assert row.origin.machine


def test_the_summary_has_gains_and_costs(finished: Finished) -> None:
    baseline, cutmix, cps, everything = finished.result.lines
    assert [line.num_masks for line in finished.result.lines] == [2, 2, 2, 4]
    assert baseline.gains == {}
    assert "unlabeled" not in everything.miou
    assert cutmix.gains["val"].mean == pytest.approx(cutmix.miou["val"].mean - baseline.miou["val"].mean)
    assert [line.passes for line in finished.result.lines] == [(4, 0), (8, 4), (16, 0), (4, 0)]
    assert set(cps.classes["test"]) == {"ground", "box", "tree", "car"}


def test_tables_and_pictures_are_written(finished: Finished) -> None:
    rows = list(csv.DictReader((finished.out / "table.csv").read_text().splitlines()))
    assert len(rows) == 3 * 3 + 2
    assert rows[0].keys() >= {"method", "masks", "miou", "gain", "share_of_gap", "iou/tree", "passes_with_gradient"}
    assert "| cutmix | 2 |" in (finished.out / "table.md").read_text()
    for name in ("labels", "gains"):
        assert (finished.out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (finished.out / f"{name}.svg").read_text()


def test_the_same_command_again_does_nothing(finished: Finished) -> None:
    written = {path: path.read_bytes() for path in finished.out.glob("*.csv")}
    again = Here()
    assert compared(finished.study, finished.out, again) == finished.result
    assert again.names == []
    assert {path: path.read_bytes() for path in written} == written


def test_a_scored_run_without_a_row_is_not_trained_again_and_a_new_method_joins(
    finished: Finished, tmp_path: Path, dataset: Path
) -> None:
    out = Path(shutil.copytree(finished.out, tmp_path / "study"))
    table = out / "results.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if ",cutmix," not in line))
    before = (out / "runs" / "cutmix-2-0" / "teacher.safetensors").stat().st_mtime_ns
    study = planned(finished.out.parent, dataset, ["cutmix", "cps", "mean_teacher"])
    launcher = Here()
    done = compared(study, out, launcher)
    assert launcher.names == ["measure", "cutmix-2-0", "mean_teacher-2-0"]
    assert (out / "runs" / "cutmix-2-0" / "teacher.safetensors").stat().st_mtime_ns == before
    assert [line.row for line in done.lines] == ["supervised", "cutmix", "cps", "mean_teacher", "supervised"]


def test_runs_in_two_precisions_are_named(finished: Finished, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished.out, tmp_path / "study"))
    table = out / "results.csv"
    first, _, rest = table.read_text().partition(", float32")
    table.write_text(f"{first}, bfloat16{rest}")
    compared(finished.study, out)
    said = (tmp_path / "said.txt").read_text()
    assert "Some runs computed in bfloat16 and some in float32. To compare alike, start a comparison" in said


def test_what_fails_is_named_and_the_rest_goes_on(tmp_path: Path, dataset: Path) -> None:
    settings = {"training.unlabeled_batch": 1}  # too few for one of the methods
    study = planned(tmp_path, dataset, ["fixmatch", "mean_teacher"], settings=settings, training={"steps": 1})
    killed = Here("mean_teacher-2-0")
    done = compared(study, tmp_path / "study", killed)
    assert [line.row for line in done.lines] == ["supervised", "supervised"]
    assert "needs 2 unlabeled images in a batch" in done.failures["fixmatch-2-0"]
    assert done.failures["mean_teacher-2-0"] == "the process was killed"
    assert "fixmatch-2-0" in (tmp_path / "study" / "failures.csv").read_text()
    assert "needs 2 unlabeled images" in (tmp_path / "study" / "table.md").read_text()
    again = Here()
    assert compared(study, tmp_path / "study", again).failures.keys() == {"fixmatch-2-0"}
    assert again.names == ["measure", "mean_teacher-2-0"]


@pytest.mark.slow
def test_a_run_whose_scores_cannot_be_kept_has_failed(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("fewmask.run.scores.write_text", full)
    done = compared(planned(tmp_path, dataset, ["supervised"]), tmp_path / "study")
    assert done.failures
    for name, why in done.failures.items():
        assert f"{name}/scores_test.json: the system refuses it (No space left on device)" in why


@pytest.mark.slow
def test_a_comparison_that_is_stopped_and_then_killed_goes_on_as_if_it_had_not_been(
    tmp_path: Path, dataset: Path
) -> None:
    study = planned(tmp_path, dataset, ["supervised"], training={"steps": 30, "checkpoint_every": 1, "log_every": 2})
    compared(study, tmp_path / "study", Here("supervised-2-0", "supervised-all-0"))  # costs are measured, nothing runs
    recipe = tmp_path / "recipe.yaml"
    words = ("compare", recipe, "--methods", "supervised", "--labels", "2", "--seeds", 1, "--out", tmp_path / "study")
    first = tmp_path / "study" / "runs" / "supervised-2-0"
    for number in (signal.SIGINT, signal.SIGKILL):
        before = set((first / "checkpoints").glob("stage0*"))
        child = Child(tmp_path, *words)
        child.wait_for(lambda before=before: set((first / "checkpoints").glob("stage0*")) - before)
        child.signal(number)
        stopped = child.answer()
        if number == signal.SIGINT:
            assert stopped.code == 130
            assert stopped.out.endswith("Stopped, and saved. The same command goes on from here.\n")
        assert not RunFolder(first).is_finished

    assert [line.row for line in compared(study, tmp_path / "study").lines] == ["supervised", "supervised"]
    unbroken = train_recipe(RunFolder(first).recipe(), tmp_path / "unbroken")
    ours, theirs = (load_file(run.model_file("student")) for run in (RunFolder(first), unbroken))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert len(ResultTable(tmp_path / "study" / "results.csv").rows()) == 2


class OneOnACluster(Here):
    """Sends the job of this name to a cluster, and does the others here."""

    def __init__(self, name: str, cluster: Cluster) -> None:
        super().__init__()
        self.name, self.cluster = name, cluster

    def start(self, task: str, job: JobFolder) -> Any:
        return self.cluster.start(task, job) if job.path.name == self.name else super().start(task, job)


@pytest.mark.slow
def test_a_job_of_a_cluster_is_one_of_this_machine(tmp_path: Path, dataset: Path) -> None:
    pytest.importorskip("submitit")
    study = planned(tmp_path, dataset, ["supervised"], training={"steps": 1})
    cluster = Cluster(1, "local", tmp_path / "cluster", {"timeout_min": 10})
    launcher = OneOnACluster("supervised-2-0", cluster)
    done = compared(study, tmp_path / "study", launcher)
    assert done.failures == {}
    assert [(line.row, line.num_masks) for line in done.lines] == [("supervised", 2), ("supervised", 4)]
    assert "supervised-2-0" not in launcher.names


def test_an_option_that_submitit_does_not_know_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match="submitit says"):
        Cluster(1, "local", tmp_path, {"gpu_per_nodes": 1})


@pytest.mark.parametrize(
    ("allowed", "devices", "visible"),
    [
        (None, [], [None] * 3),
        (None, ["0", "3"], ["0", "3", "0"]),
        ("4,5,GPU-8932", ["0", "2"], ["4", "GPU-8932", "4"]),
        ("4,5", ["cpu"], [""] * 3),
    ],
)
def test_processes_share_the_threads_and_take_the_devices_in_turn(
    allowed: str | None,
    devices: list[str],
    visible: list[str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environments = []

    class Running:
        def __init__(self, words: list[str], env: dict[str, str], **_: object) -> None:
            environments.append((env["OMP_NUM_THREADS"], env.get("CUDA_VISIBLE_DEVICES")))

        def poll(self) -> None: ...

    monkeypatch.setattr("subprocess.Popen", Running)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    launcher = Processes(3, devices)
    for number in range(3):
        folder = tmp_path / "jobs" / str(number)
        folder.mkdir(parents=True)
        launcher.start("run", JobFolder(folder))
    assert environments == [("2", gpus) for gpus in visible]


@pytest.mark.parametrize(("count", "what"), [(0, "no GPU 2: none is found"), (2, "no GPU 2: the last one is 1")])
def test_a_gpu_that_is_not_there_is_refused(count: int, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    with pytest.raises(UserError, match=what):
        Processes(1, ["2"])


MISTAKES = [
    ({"--methods": "cutmixx"}, "there is no method 'cutmixx'", "nearest: cutmix"),
    ({"--methods": "ass"}, "ass", "source=FOLDER"),
    ({"--labels": "1/3,99"}, "99 labels are asked for, but 4 train images have masks", "labels"),
    ({"--labels": "few"}, "'few' is no share, no number and no file", "Write a share"),
    ({"--labels": ","}, "no set of masks", "--labels"),
    ({"--budget": "hours"}, "there is no budget 'hours'", "minutes"),
    ({"--arm": "mine"}, "there is no arm 'mine'", "harness, own, both"),
    ({"--devices": "cuda"}, "there is no device 'cuda'", "0,1"),
    ({"--cluster": "pbs"}, "there is no cluster 'pbs'", "slurm, local"),
    ({"--cluster-set": "timeout_min=3"}, "no cluster is named", "--cluster slurm"),
    ({"--set": "data.labels=3"}, "data.labels is a part of the comparison", "--labels"),
    ({"--set": "method.wekness=3"}, "none of the compared methods has a setting method.wekness", "weak"),
    ({"--set": "training.devices=2"}, "one process on one device", "--devices 0,1"),
    ({"--set": "training.select=best_val"}, "takes the last step of every run", "training.select"),
    ({"--set": "training.memory=auto"}, "the sizes that fit may differ from run to run", "give them to the comparison"),
]


def test_a_folder_is_free_again_after_a_comparison(tmp_path: Path, dataset: Path) -> None:
    settings = planned(tmp_path, dataset, ["cutmix"]).settings
    first, second = (StudyFolder(tmp_path / "study").claimed(settings) for _ in range(2))
    with first, pytest.raises(UserError, match="another command works"), second:
        pass
    with StudyFolder(tmp_path / "study").claimed(settings):
        pass


def test_a_list_as_long_as_another_set_is_large_is_refused(tmp_path: Path, dataset: Path) -> None:
    names = tmp_path / "chosen.txt"
    names.write_text("".join(f"{mask.stem}\n" for mask in sorted((dataset / "train" / "masks").iterdir())[:2]))
    with pytest.raises(UserError, match=r"--labels: two sets are called 2 in the rows"):
        planned(tmp_path, dataset, ["cutmix"], labels=["2", str(names)])


@pytest.mark.parametrize(("flags", "what", "fix"), MISTAKES, ids=[what[:40] for _, what, _ in MISTAKES])
def test_a_mistake_is_one_line_before_anything_is_made(
    flags: dict[str, str], what: str, fix: str, tmp_path: Path, dataset: Path, capsys: Capsys
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "supervised")
    words = [word for flag in ({"--methods": "cutmix", "--labels": "2"} | flags).items() for word in flag]
    answer = command(capsys, "compare", recipe, "--out", tmp_path / "study", *words)
    assert_mistake(answer, what, fix)
    assert not (tmp_path / "study").exists()


def test_no_masks_to_compare_on_and_a_folder_of_something_else_are_one_line(
    tmp_path: Path, dataset: Path, finished: Finished, capsys: Capsys
) -> None:
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    shutil.rmtree(data / "val")
    shutil.rmtree(data / "test" / "masks")
    recipe = write_recipe(tmp_path / "recipe.yaml", data, "supervised")
    grid = ("--methods", "cutmix", "--labels", 2, "--out")
    answer = command(capsys, "compare", recipe, *grid, tmp_path / "study")
    assert_mistake(answer, "no masks to compare on", "val")
    same = finished.out.parent / "recipe.yaml"
    assert_mistake(command(capsys, "compare", same, *grid, data), "something that is no comparison", "another --out")
    answer = command(capsys, "compare", same, *grid, finished.out, "--set", "training.steps=3")
    assert_mistake(answer, "recipe.training.steps 2, and this one 3", "another --out")


def test_a_comparison_from_before_a_setting_goes_on(tmp_path: Path, dataset: Path) -> None:
    study, folder = planned(tmp_path, dataset, ["cutmix"]), StudyFolder(tmp_path / "study")
    with folder.claimed(study.settings):
        recorded = yaml.safe_load(folder.study_file.read_text())
    del recorded["recipe"]["data"]["balance"]
    folder.study_file.write_text(yaml.safe_dump(recorded))
    with folder.claimed(study.settings):
        pass
    recorded["recipe"]["data"]["balance"] = 0.5
    folder.study_file.write_text(yaml.safe_dump(recorded))
    with (
        pytest.raises(UserError, match=r"has recipe\.data\.balance 0\.5, and this one 0\.0"),
        folder.claimed(study.settings),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "split"),
    [
        (lambda data: (data / "test" / "masks" / "test0.png").unlink(), "test"),
        (
            lambda data: shutil.copy(data / "val" / "images" / "val0.png", data / "train" / "images" / "new.png"),
            "train",
        ),
        (lambda data: shutil.copy(data / "val" / "masks" / "val0.png", data / "val" / "masks" / "val1.png"), "val"),
    ],
)
def test_a_comparison_does_not_go_on_with_other_data(
    change: Callable[[Path], object], split: str, tmp_path: Path, dataset: Path
) -> None:
    data, folder = Path(shutil.copytree(dataset, tmp_path / "data")), StudyFolder(tmp_path / "study")
    before = planned(tmp_path, data, ["cutmix"]).settings
    with folder.claimed(before):
        pass
    change(data)
    after = planned(tmp_path, data, ["cutmix"]).settings
    with (
        pytest.raises(UserError, match=rf"has images\.target\.{split} '\d+ images, \w+', and this one"),
        folder.claimed(after),
    ):
        pass
    del before["images"]  # a comparison from before this was kept
    folder.study_file.write_text(yaml.safe_dump(before))
    with folder.claimed(after):
        pass


def test_a_folder_has_a_list_for_every_seed(tmp_path: Path, dataset: Path) -> None:
    lists = tmp_path / "two"
    lists.mkdir()
    (lists / "seed0.txt").write_text("train0\ntrain1\n")
    study = planned(tmp_path, dataset, ["cutmix"], labels=[str(lists)])
    assert (study.labels[0].name, study.labels[0].num_masks, study.labels[0].num_unlabeled) == ("two", 2, 8)
    assert len(rows_of(study)) == 2
    with pytest.raises(UserError, match="there is no list for seed 1"):
        planned(tmp_path, dataset, ["cutmix"], labels=[str(lists)], seeds=range(2))
    (lists / "seed1.txt").write_text("train2\n")
    with pytest.raises(UserError, match="the lists of one set have 1 to 2 masks"):
        planned(tmp_path, dataset, ["cutmix"], labels=[str(lists)], seeds=range(2))


@pytest.mark.parametrize(
    ("words", "encoder"),
    [((), "mobilenetv2_100"), (("--preset", "base"), "resnet50"), (("--cluster", "local"), "resnet50")],
)
def test_a_folder_without_a_gpu_is_compared_with_the_small_preset_unless_a_cluster_has_one(
    words: tuple[str, ...], encoder: str, tmp_path: Path, dataset: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preset_module, "choose_device", lambda wanted, where: "cpu")
    assert compared_encoder(monkeypatch, capsys, dataset, tmp_path / "study", *words) == encoder


@pytest.mark.parametrize(("devices", "encoder"), [("0", "resnet50"), ("cpu", "mobilenetv2_100")])
def test_runs_on_the_processor_have_the_small_preset_beside_a_gpu_too(
    devices: str, encoder: str, tmp_path: Path, dataset: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr(preset_module, "choose_device", lambda wanted, where: "cuda")
    assert compared_encoder(monkeypatch, capsys, dataset, tmp_path / "study", "--devices", devices) == encoder


def compared_encoder(monkeypatch: pytest.MonkeyPatch, capsys: Capsys, dataset: Path, out: Path, *words: str) -> str:
    """The encoder of the runs that `fewmask compare` would start."""
    pytest.importorskip("submitit")
    asked: list[Study] = []

    def noted(study: Study, *others: Any) -> Comparison:
        asked.append(study)
        return Comparison([], {})

    monkeypatch.setattr(study_compare, "compare", noted)
    command(capsys, "compare", dataset, "--methods", "cutmix", "--labels", "2", "--out", out, *words)
    return asked[0].baseline.net.encoder
