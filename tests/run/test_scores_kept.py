"""scores_SPLIT.json goes to a run and back; a lost or damaged file is one line."""

import json
import time
from pathlib import Path

import pytest

from fewmask.data.folder import Sample
from fewmask.errors import UserError
from fewmask.run.folder import RunFolder
from fewmask.run.scores import read_scores, standing_scores, write_scores
from toy import write_recipe

OF_A_NETWORK = {"miou": 0.5, "per_class": {"box": 0.5, "tree": None}, "pixel_accuracy": 0.75}


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    scores = OF_A_NETWORK | {"split": "val", "networks": ["left"], "left": OF_A_NETWORK}
    write_scores(run, "val", scores)
    assert read_scores(run, "val") == scores


def test_scores_stand_until_something_that_they_were_made_from_changes(tmp_path: Path) -> None:
    run, classes = RunFolder(tmp_path), tmp_path / "dataset.yaml"
    write_recipe(run.recipe_file, tmp_path)
    masks = [tmp_path / "a.png", tmp_path / "b.png"]
    samples = [Sample(mask.stem, mask.with_suffix(".jpg"), mask) for mask in masks]
    for file in (*masks, *(sample.image for sample in samples), classes):
        file.write_text("")
    run.model_file("student").write_text("")
    assert standing_scores(run, "val", samples) is None

    def swap() -> None:
        for old, new in ((masks[0], "t"), (masks[1], "a.png"), (tmp_path / "t", "b.png")):
            old.rename(tmp_path / new)

    for change in (masks[1].touch, samples[0].image.touch, classes.touch, run.model_file("student").touch, swap):
        time.sleep(0.02)  # files have coarse times
        write_scores(run, "val", OF_A_NETWORK | {"images": 2, "networks": []})
        assert standing_scores(run, "val", samples) == read_scores(run, "val")
        assert standing_scores(run, "val", samples[:1]) is None
        time.sleep(0.02)
        change()
        assert standing_scores(run, "val", samples) is None
    run.scores_file("val").write_text("{")
    assert standing_scores(run, "val", samples) is None


@pytest.mark.parametrize(("teacher", "networks"), [(OF_A_NETWORK, ["student", "teacher"]), (None, ["student"])])
def test_scores_from_before_networks_were_named_have_their_names_too(
    teacher: object, networks: list[str], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path)
    old = OF_A_NETWORK | {"split": "val", "predictor": "student", "student": OF_A_NETWORK, "teacher": teacher}
    run.scores_file("val").write_text(json.dumps(old))
    assert read_scores(run, "val")["networks"] == networks


@pytest.mark.parametrize("text", ["", '{"miou": 0.5, "per_cl', "[1, 2]", '{"miou": 0.5}'])
def test_damaged_scores_are_one_line(text: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.scores_file("test").write_text(text)
    with pytest.raises(UserError, match=r"scores_test\.json: the file cannot be read \(.*\)\. Copy it again") as caught:
        read_scores(run, "test")
    assert "\n" not in str(caught.value)


def test_scores_of_another_split_are_lost(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the run has lost its scores_test\.json"):
        read_scores(RunFolder(tmp_path), "test")
