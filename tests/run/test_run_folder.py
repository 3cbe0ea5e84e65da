"""A run folder: which networks it holds, whether it is finished, and its lists; a lost or damaged file is one line."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import example, given
from hypothesis import strategies as st

from fewmask.data.classes import Classes
from fewmask.data.folder import Sample
from fewmask.data.partition import Partition
from fewmask.errors import UserError
from fewmask.recipe import make_recipe
from fewmask.run.atomic import part_name
from fewmask.run.folder import Beginning, RunFolder
from fewmask.run.names import read_names, write_names

CLASSES = Classes(names=("ground", "box"))
PARTITION = Partition((Sample("a b", Path("a b.png"), Path("m.png")),), (Path("x/c.png"), Path("d.jpg")))


def made(path: Path, method: str = "class_bank") -> RunFolder:
    run = RunFolder(path)
    with run.begun(beginning(method)):
        return run


def beginning(method: str = "class_bank", partition: Partition = PARTITION) -> Beginning:
    return Beginning(make_recipe({"data": {"root": "toy"}, "method": method}), CLASSES, partition, ["gta"])


def test_a_run_that_is_begun_anew_has_no_scores_of_the_one_before(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    kept = (run.scores_file("val"), run.tally_file("val"))
    kept[1].parent.mkdir()
    for file in kept:
        file.touch()
    made(run.path)
    assert [file for file in kept if file.exists()] == []


def test_what_a_run_was_made_of_is_read_back(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    assert run.is_begun
    assert run.recipe().method.name == "class_bank"
    assert run.classes() == CLASSES
    assert run.labeled_names() == ["a b"]
    assert run.unlabeled_names() == ["c.png", "d.jpg"]
    assert run.source_names() == ["gta"]


def test_lists_that_an_older_run_has_not_kept_are_none(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    run.unlabeled_file.unlink()
    run.source_file.unlink()
    assert run.unlabeled_names() is None
    assert run.source_names() is None


def test_networks_are_those_whose_weights_are_there(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.networks() == ()
    for name in ("right", "left", "pretrained"):
        run.model_file(name).touch()
    (tmp_path / ".student.safetensors.part").touch()
    run.scores_file("val").touch()
    assert run.networks() == ("left", "right")


@pytest.mark.parametrize(
    ("method", "networks"),
    [("supervised", ["student"]), ("cutmix", ["student", "teacher"]), ("cutmix", ["teacher", "student"])],
)
def test_a_run_is_finished_when_all_networks_of_its_recipe_are_there(
    method: str, networks: list[str], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    assert not run.is_finished
    made(run.path, method)
    for name in networks:
        assert not run.is_finished
        run.model_file(name).touch()
    assert run.is_finished


def test_a_run_that_has_saved_weights_is_not_begun_anew(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    run.metrics_file.touch()
    made(run.path)
    assert not run.metrics_file.exists()
    run.model_file("teacher").touch()
    with pytest.raises(UserError, match=r"already holds a run\. Go on with it: fewmask train --resume"):
        made(run.path)
    run.model_file("student").touch()
    with pytest.raises(UserError, match=r"already holds a run\. It is finished: choose another --out\."):
        made(run.path)


def test_the_baseline_of_a_run_is_a_run_of_its_own(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    assert not run.baseline.is_begun
    made(run.baseline.path, "supervised")
    assert run.baseline.is_begun
    assert run.baseline.recipe().method.name == "supervised"


def test_a_lost_or_damaged_list_is_one_line(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    for file, read in ((run.unlabeled_file, run.unlabeled_names), (run.source_file, run.source_names)):
        file.write_bytes(b"\xff\xfe")
        with pytest.raises(UserError, match=rf"{file.name}: the file cannot be read \('utf-8' codec can't decode"):
            read()
    run.labeled_file.unlink()
    os.mkfifo(run.labeled_file)
    with pytest.raises(UserError, match=r"labeled\.txt: the file cannot be read \(it is a pipe or a device"):
        run.labeled_names()
    run.labeled_file.unlink()
    with pytest.raises(UserError, match=r"the run has lost its labeled\.txt\. Copy the folder again, or train anew"):
        run.labeled_names()
    run.classes_file.unlink()
    with pytest.raises(UserError, match=r"the run has lost its dataset\.yaml\. Copy the folder again, or train anew"):
        run.classes()


def test_a_folder_without_a_recipe_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"this is no run folder: it has no recipe\.yaml"):
        RunFolder(tmp_path).recipe()


# ---- one folder, one training


def test_a_folder_that_another_process_filled_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    waiting = Event()
    acquire = FileLock.acquire

    def noted(lock: FileLock, *arguments: Any) -> Any:
        if current_thread() is not main_thread():
            waiting.set()
        return acquire(lock, *arguments)

    monkeypatch.setattr(FileLock, "acquire", noted)
    with ThreadPoolExecutor(1) as pool:
        with run.begun(beginning("class_bank")):
            second = pool.submit(made, run.path, "supervised")
            assert waiting.wait(20)  # it has found a folder in which nothing is saved
            checkpoint = run.checkpoints / "stage0-step00000002"
            checkpoint.mkdir(parents=True)
            run.metrics_file.touch()
        with pytest.raises(UserError, match=r"already holds a run\. Go on with it: fewmask train --resume"):
            second.result()
    assert checkpoint.exists()
    assert run.metrics_file.exists()
    assert run.recipe().method.name == "class_bank"


def test_nothing_of_a_run_that_saved_nothing_is_left_in_the_next(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with run.begun(beginning("class_bank"), baseline=beginning("supervised")):
        run.model_file("pretrained").touch()
        for path in (run.metrics_file, run.features_picture, run.path / "events.out.tfevents.1.2"):
            path.touch()
        run.features.mkdir()
        (run.path / "mine.txt").touch()
    with run.begun(beginning("cutmix", Partition((), ()))._replace(source_names=None)):
        assert sorted(path.name for path in run.path.iterdir()) == [
            *(".lock", "dataset.yaml", "labeled.txt", "mine.txt", "recipe.yaml", "unlabeled.txt")
        ]
    assert run.recipe().method.name == "cutmix"
    assert run.labeled_names() == run.unlabeled_names() == []


def test_weights_of_no_run_cannot_make_a_new_run_look_finished(tmp_path: Path) -> None:
    (tmp_path / "student.safetensors").touch()
    with pytest.raises(UserError, match="this folder holds weights or checkpoints of no run"):
        made(tmp_path, "supervised")
    assert [path.name for path in tmp_path.iterdir()] == ["student.safetensors"]


def test_a_run_killed_at_its_beginning_has_its_baseline_or_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    written: list[Path] = []

    def killed(folder: RunFolder, what: Beginning) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(folder.path)
        write(folder, what)

    write = RunFolder._write
    monkeypatch.setattr(RunFolder, "_write", killed)
    with pytest.raises(KeyboardInterrupt), run.begun(beginning("class_bank"), baseline=beginning("supervised")):
        pass
    monkeypatch.undo()
    assert written == [run.baseline.path]
    assert run.baseline.is_begun
    assert not run.is_begun
    made(run.path)  # without a baseline
    assert not run.baseline.path.exists()
    with run.begun(beginning("class_bank"), baseline=beginning("supervised")):
        assert run.baseline.recipe().method.name == "supervised"


def test_a_folder_called_baseline_is_not_removed_unless_it_is_the_runs_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.baseline.path.mkdir(parents=True)
    (run.baseline.path / "notes.txt").touch()
    made(run.path)
    assert (run.baseline.path / "notes.txt").exists()
    made(run.baseline.path)
    run.baseline.model_file("student").touch()
    with pytest.raises(UserError, match="already holds the baseline of another run"):
        made(run.path)


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    half = run.checkpoints / ".stage0-step00000004.part"
    half.mkdir(parents=True)
    (run.path / part_name()).touch()
    (run.path / ".mine").touch()
    with run.claimed():
        assert not half.exists()
        assert sorted(path.name for path in run.path.glob(".*")) == [".lock", ".mine"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)))
@example(['"quoted"', 'half"', "\x85", "\u2028", "a\rb\nc", "\v\x1c", " ", "\ufeff", "[1]", '"1"'])
def test_images_of_every_name_are_read_back(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("lists") / "labeled.txt"
    write_names(path, names)
    assert read_names(path) == names


def test_lists_of_older_runs_and_of_other_editors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labeled.txt"
    path.write_bytes(b'\xef\xbb\xbfa b\r\n"c\r\nd"e"\r\n')
    assert read_names(path) == ["a b", '"c', 'd"e"']
