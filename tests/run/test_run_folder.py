"""A run folder: which networks it holds, whether it is finished, and its lists; a lost or damaged file is one line."""

from pathlib import Path

import pytest

from fewmask.data.classes import Classes
from fewmask.data.folder import Sample
from fewmask.data.partition import Partition
from fewmask.errors import UserError
from fewmask.recipe import make_recipe
from fewmask.run.folder import RunFolder

CLASSES = Classes(names=("ground", "box"))
PARTITION = Partition((Sample("a b", Path("a b.png"), Path("m.png")),), (Path("x/c.png"), Path("d.jpg")))


def made(path: Path, method: str = "class_bank") -> RunFolder:
    run = RunFolder(path)
    run.create(make_recipe({"data": {"root": "toy"}, "method": method}), CLASSES, PARTITION, ["gta"])
    return run


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
    with pytest.raises(UserError, match=r"the run has lost its labeled\.txt\. Copy the folder again, or train anew"):
        run.labeled_names()
    run.classes_file.unlink()
    with pytest.raises(UserError, match=r"the run has lost its dataset\.yaml\. Copy the folder again, or train anew"):
        run.classes()


def test_a_folder_without_a_recipe_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"this is no run folder: it has no recipe\.yaml"):
        RunFolder(tmp_path).recipe()
