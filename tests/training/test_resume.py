"""A run that was killed, stopped or out of disk goes on as if nothing had happened."""

import csv
import shutil
import signal
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import yaml

from fewmask import cli
from toy import Answer, Child, assert_mistake, command, make_dataset, write_recipe

STEPS = 20
OFTEN = {"steps": STEPS, "checkpoint_every": 2, "log_every": 5}
SHORTER = OFTEN | {"steps": 12}  # of steps that take long enough to stop a run between two of them
SHORT = 20_000  # bytes; less than a checkpoint or a model, more than the small files of a run
TIMES = ("steps_per_second", "data_share", "memory_gib")
CLASS_BANK = {"name": "class_bank", "quality_filter": False, "bank_slots": 64, "teacher_momentum": 0.9}
METHODS = {  # the bank fills from the first step on, whatever the network says
    "class_bank": CLASS_BANK,
    "pretrain": CLASS_BANK,  # after a stage of label contrast
    "label_contrast": {"name": "label_contrast", "pseudo_labels": True, "contrast": {"dim": 16}},
    "s4gan": {"name": "s4gan", "threshold": 0.0},  # a critic, with an optimizer of its own
    "supervised": "supervised",
}


FROM_DISK = ("--set", "data.workers=1", "--set", "data.cache=false")


class Unbroken(NamedTuple):
    method: str
    recipe: Path
    run: Path


@pytest.fixture(scope="module", params=METHODS)
def unbroken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Unbroken:
    folder = tmp_path_factory.mktemp(request.param)
    often = SHORTER if request.param in ("class_bank", "s4gan") else OFTEN
    recipe = write_recipe(folder / "recipe.yaml", dataset, METHODS[request.param], **often)
    if request.param == "pretrain":
        recipe.write_text(recipe.read_text() + "pretrain: {dim: 16}\n")
    assert train(folder, recipe, folder / "run").answer().code == 0
    if METHODS[request.param] == CLASS_BANK:  # else a resumed bank would be no test
        last = rows(folder / "run")[-1]
        assert float(last["bank_filled/car"]) > 0.5
        assert float(last["loss/contrast_unlabeled"]) > 0
    return Unbroken(request.param, recipe, folder / "run")


def test_a_run_that_was_killed_and_then_stopped_ends_as_the_unbroken_one(tmp_path: Path, unbroken: Unbroken) -> None:
    run = tmp_path / "run"
    first = train(tmp_path, unbroken.recipe, run, *FROM_DISK)
    first.wait_for(lambda: any(saved(run)))
    first.signal(signal.SIGKILL)
    assert first.answer().code == -signal.SIGKILL
    assert not (run / "student.safetensors").exists()
    leave_half_a_checkpoint(run)

    second = resume(tmp_path, run)
    second.wait_for(lambda: saved(run)[-1:] >= ["stage0-step00000006"])
    second.signal(signal.SIGINT)
    assert_says_how_to_go_on(second.answer(), run)

    assert resume(tmp_path, run).answer().code == 0
    assert_equal_runs(run, unbroken)


@pytest.mark.parametrize("unbroken", ["supervised"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_every_signal_stops_a_run_that_can_go_on(number: signal.Signals, tmp_path: Path, unbroken: Unbroken) -> None:
    run = tmp_path / "run"
    child = train(tmp_path, unbroken.recipe, run, *FROM_DISK)
    child.wait_for(lambda: any(saved(run)))
    child.signal(number)
    assert_says_how_to_go_on(child.answer(), run)

    assert resume(tmp_path, run).answer().code == 0
    assert_equal_runs(run, unbroken)


@pytest.mark.parametrize("unbroken", ["supervised"], indirect=True)
def test_full_disk_at_the_first_checkpoint_is_one_line_and_the_run_goes_on(tmp_path: Path, unbroken: Unbroken) -> None:
    run = tmp_path / "run"
    answer = train(tmp_path, unbroken.recipe, run, longest_file=SHORT).answer()
    assert answer.code == 2
    assert answer.err == (
        f"fewmask: {run}: a checkpoint could not be written (File too large); there is no checkpoint yet. "
        f"Free some space, then: fewmask train --resume {run}\n"
    )
    assert list((run / "checkpoints").iterdir()) == []

    assert resume(tmp_path, run).answer().code == 0
    assert_equal_runs(run, unbroken)


@pytest.mark.parametrize("unbroken", ["supervised"], indirect=True)
def test_full_disk_at_a_later_checkpoint_leaves_the_last_one_whole(tmp_path: Path, unbroken: Unbroken) -> None:
    run = stopped_run(tmp_path, unbroken.recipe)
    before = contents(run / "checkpoints")
    answer = resume(tmp_path, run, longest_file=SHORT).answer()
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert f"(File too large); the last checkpoint, {saved(run)[0]}, is intact" in answer.err
    assert contents(run / "checkpoints") == before

    assert resume(tmp_path, run).answer().code == 0
    assert_equal_runs(run, unbroken)


@pytest.mark.parametrize("unbroken", ["supervised"], indirect=True)
def test_full_disk_at_the_final_model_is_one_line_and_the_run_goes_on(tmp_path: Path, unbroken: Unbroken) -> None:
    run = tmp_path / "run"
    shutil.copytree(unbroken.run, run)
    for model in run.glob("*.safetensors"):
        model.unlink()
    answer = resume(tmp_path, run, longest_file=SHORT).answer()
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "the model could not be written (File too large); the last checkpoint, stage1-step00000000, is" in answer.err
    assert not any(run.glob("*.safetensors*"))

    assert resume(tmp_path, run).answer().code == 0
    assert_equal_runs(run, unbroken)


@pytest.mark.parametrize("unbroken", ["supervised"], indirect=True)
def test_full_disk_while_logging_is_one_line_and_the_run_goes_on(tmp_path: Path, unbroken: Unbroken) -> None:
    run = tmp_path / "run"
    settings = ("training.log_every=1", "training.checkpoint_every=1000", "training.steps=24")
    flags = [word for setting in settings for word in ("--set", setting)]
    answer = train(tmp_path, unbroken.recipe, run, *flags, longest_file=2500).answer()
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "the log could not be written (File too large)" in answer.err

    assert resume(tmp_path, run).answer().code == 0
    assert [int(row["step"]) for row in rows(run)] == list(range(1, 25))


@pytest.mark.parametrize("unbroken", ["supervised"], indirect=True)
def test_a_second_process_is_kept_out_of_a_run_in_training(tmp_path: Path, unbroken: Unbroken) -> None:
    run = tmp_path / "run"
    first = train(tmp_path, unbroken.recipe, run)
    first.wait_for(lambda: any(saved(run)))
    first.signal(signal.SIGSTOP)
    answer = Child(tmp_path / "second", "train", "--resume", run, main=impatient).answer()
    assert answer.code == 2
    assert answer.err == (
        f"fewmask: {run}: another process is training in this folder. "
        "Wait for it, or start another run with another --out.\n"
    )
    first.signal(signal.SIGCONT)
    assert first.answer().code == 0
    assert_equal_runs(run, unbroken)


@pytest.mark.parametrize("unbroken", ["supervised"], indirect=True)
def test_finished_run_is_left_as_it_is(tmp_path: Path, unbroken: Unbroken, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(unbroken.run)
    answer = command(capsys, "train", "--resume", unbroken.run)
    assert answer.code == 0
    assert f"{unbroken.run} is finished already." in answer.out
    assert contents(unbroken.run) == before


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("test_resnet", "resnet18", "net.encoder is 'resnet18', but the run was started with 'test_resnet'"),
        ("arch: unet", "arch: fpn", "net.arch is 'fpn', but the run was started with 'unet'"),
        (f"steps: {STEPS}", "steps: 99", "training.steps is 99, but the run was started with 20"),
        ("learning_rate: null", "learning_rate: 0.1", "learning_rate is 0.1, but the run was started with None"),
        ("name: supervised", "name: class_bank", "method.name is 'class_bank', but the run was started with"),
    ],
)
def test_resume_with_another_recipe_is_refused(
    before: str, after: str, line: str, tmp_path: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    change(run / "recipe.yaml", before, after)
    answer = command(capsys, "train", "--resume", run)
    assert answer.code == 2
    assert line in answer.err
    assert answer.err.count("\n") == 1


def test_resume_may_compute_elsewhere_and_find_the_data_elsewhere(
    tmp_path: Path, stopped: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    shutil.copytree(dataset, tmp_path / "moved")
    change(run / "recipe.yaml", str(dataset), str(tmp_path / "moved"))
    change(run / "recipe.yaml", "workers: null", "workers: 1")
    change(run / "recipe.yaml", "checkpoint_every: 2", "checkpoint_every: 5")
    assert command(capsys, "train", "--resume", run).code == 0


def test_resume_does_not_need_the_weights_of_the_start(
    tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "supervised", **OFTEN)
    assert command(capsys, "train", recipe, "--out", tmp_path / "before").code == 0
    weights = tmp_path / "before" / "student.safetensors"
    change(recipe, "weights: none", f"weights: {weights}")
    run = stopped_run(tmp_path, recipe)
    weights.unlink()
    assert command(capsys, "train", "--resume", run).code == 0


@pytest.mark.parametrize(("labels", "line"), [("3", "train3 was labeled when"), ("4", "train4 has been labeled since")])
def test_resume_with_other_labeled_images_is_refused(
    labels: str, line: str, tmp_path: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    data = make_dataset(tmp_path / "data", labeled=int(labels) + (labels == "4"))
    change(run / "recipe.yaml", read_root(run), str(data))
    answer = command(capsys, "train", "--resume", run)
    assert answer.code == 2
    assert f"the labeled images have changed: {line}" in answer.err


def test_resume_with_other_unlabeled_images_is_refused(
    tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    run = stopped_run(tmp_path, write_recipe(tmp_path / "recipe.yaml", data, CLASS_BANK, **SHORTER))
    gone = data / "unlabeled" / "more3.png"
    gone.rename(tmp_path / "more3.png")
    answer = command(capsys, "train", "--resume", run)
    assert_mistake(answer, f"{data}: the unlabeled images have changed: more3.png", "Restore the data to go on")
    (tmp_path / "more3.png").rename(data / "train" / "images" / "more3.png")
    answer = command(capsys, "train", "--resume", run)
    assert_mistake(answer, "the unlabeled images have changed: their order", "Restore the data to go on")
    (data / "train" / "images" / "more3.png").rename(gone)
    assert command(capsys, "train", "--resume", run).code == 0


def test_a_run_whose_data_was_moved_says_where_to_write_it(
    tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    run = stopped_run(tmp_path, write_recipe(tmp_path / "recipe.yaml", data, "supervised", **OFTEN))
    data.rename(tmp_path / "moved")
    answer = command(capsys, "train", "--resume", run)
    assert_mistake(
        answer, f"{data}: the data of the run is not there any more", f"now in the block data of {run}/recipe.yaml"
    )
    change(run / "recipe.yaml", f"root: {data}", f"root: {tmp_path / 'moved'}")
    assert command(capsys, "train", "--resume", run).code == 0
    (tmp_path / "moved").rename(data)
    answer = command(capsys, "evaluate", run, "--split", "val")
    assert_mistake(answer, "the data of the run is not there any more", f"now in the block data of {run}/recipe.yaml")


def test_lists_and_a_source_that_were_moved_too_are_found_elsewhere(
    tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    shutil.copytree(dataset, here / "data")
    make_dataset(here / "source")
    (here / "data" / "two.txt").write_text("train0\ntrain1\n")
    recipe = write_recipe(tmp_path / "recipe.yaml", here / "data", CLASS_BANK, **SHORTER)
    recipe.write_text(recipe.read_text() + f"source: {here / 'source'}\n")
    change(recipe, f"root: {here / 'data'}", f"root: {here / 'data'}\n  labels: {here / 'data' / 'two.txt'}")
    run = stopped_run(tmp_path, recipe)
    here.rename(tmp_path / "there")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(here), str(tmp_path / "there")))
    gone = tmp_path / "there" / "source" / "train" / "masks" / "train3.png"
    gone.rename(tmp_path / "train3.png")
    answer = command(capsys, "train", "--resume", run)
    assert_mistake(answer, "there/source: the images of the source have changed: train3.", "Restore the data to go on")
    (tmp_path / "train3.png").rename(gone)
    assert command(capsys, "train", "--resume", run).code == 0


def test_a_run_goes_on_with_as_many_processes_as_it_was_started_with(
    tmp_path: Path, stopped: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer = command(capsys, "train", "--resume", run)
    assert_mistake(answer, "training.devices: 2 processes started, and the run has 1", "--nproc-per-node=1")


@pytest.mark.parametrize(
    "text", ["names: [ground, tree, box, car]", "names: [ground, box, tree, car]\nvalues: [0, 2, 1, 3]"]
)
def test_resume_with_other_classes_or_values_is_refused(
    text: str, tmp_path: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    data = make_dataset(tmp_path / "data")
    (data / "dataset.yaml").write_text(text)
    change(run / "recipe.yaml", read_root(run), str(data))
    answer = command(capsys, "train", "--resume", run)
    assert answer.code == 2
    assert "the classes or the way masks write them are not those that the run was started with" in answer.err


@pytest.mark.parametrize("file", ["labeled.txt", "dataset.yaml"])
def test_run_that_lost_a_file_is_one_line(
    file: str, tmp_path: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    (run / file).unlink()
    assert_mistake(command(capsys, "train", "--resume", run), f"{run}: the run has lost its {file}", "Copy the folder")


@pytest.mark.parametrize("file", ["method.safetensors", "training.pt", "recipe.yaml"])
def test_checkpoint_that_lost_a_file_is_one_line(
    file: str, tmp_path: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    lost = next(run.glob(f"checkpoints/*/{file}"))
    lost.unlink()
    answer = command(capsys, "train", "--resume", run)
    assert_mistake(answer, f"{lost}: the file cannot be read (No such file or directory). Copy it again")


@pytest.mark.parametrize("file", ["method.safetensors", "training.pt"])
def test_damaged_checkpoint_is_one_line(
    file: str, tmp_path: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    damaged = next(run.glob(f"checkpoints/*/{file}"))
    damaged.write_bytes(damaged.read_bytes()[:1000])
    answer = command(capsys, "train", "--resume", run)
    assert answer.code == 2
    assert f"{damaged}: the file cannot be read" in answer.err
    assert answer.err.count("\n") == 1


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Path:
    """A supervised run that was killed after its first checkpoint; to be copied."""
    folder = tmp_path_factory.mktemp("stopped")
    return stopped_run(folder, write_recipe(folder / "recipe.yaml", dataset, "supervised", **OFTEN))


def stopped_run(folder: Path, recipe: Path) -> Path:
    run = folder / "run"
    child = train(folder, recipe, run)
    child.wait_for(lambda: any(saved(run)))
    child.signal(signal.SIGKILL)
    child.answer()
    return run


def train(folder: Path, recipe: Path, run: Path, *flags: str, longest_file: int | None = None) -> Child:
    return Child(folder, "train", recipe, "--out", run, *flags, longest_file=longest_file)


def resume(folder: Path, run: Path, longest_file: int | None = None) -> Child:
    return Child(folder, "train", "--resume", run, longest_file=longest_file)


def impatient() -> None:
    """The command, which waits for a moment only for a run in which another process is training."""
    with patch("fewmask.run.folder._PATIENCE", 0.1):
        cli.main()


def saved(run: Path) -> list[str]:
    return sorted(path.name for path in run.glob("checkpoints/stage*"))


def leave_half_a_checkpoint(run: Path) -> None:
    for step in (4, 8, 99):
        part = run / "checkpoints" / f".stage0-step{step:08d}.part"
        part.mkdir()
        (part / "method.safetensors").write_bytes(b"half")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def read_root(run: Path) -> str:
    root: str = yaml.safe_load((run / "recipe.yaml").read_text())["data"]["root"]
    return root


def rows(run: Path) -> list[dict[str, Any]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_says_how_to_go_on(answer: Answer, run: Path) -> None:
    assert answer.code == 130
    assert answer.out.endswith(f"Stopped, and saved. Go on with: fewmask train --resume {run}\n")
    assert answer.err == ""


def assert_equal_runs(run: Path, unbroken: Unbroken) -> None:
    pretrains, has_teacher = unbroken.method in ("pretrain", "label_contrast"), METHODS[unbroken.method] == CLASS_BANK
    models = ["pretrained.safetensors"] * pretrains + ["student.safetensors"] + ["teacher.safetensors"] * has_teacher
    assert sorted(path.name for path in run.glob("*.safetensors")) == models
    for model in models:
        assert (run / model).read_bytes() == (unbroken.run / model).read_bytes()
    kept = [{name: value for name, value in row.items() if name not in TIMES} for row in rows(run)]
    expected = [{name: value for name, value in row.items() if name not in TIMES} for row in rows(unbroken.run)]
    assert kept == expected
    assert {"5", "10"} <= {row["step"] for row in kept}
