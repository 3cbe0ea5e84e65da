"""One --set takes every setting that follows it."""

from pathlib import Path

import pytest

from toy import assert_mistake, command

Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "words",
    [
        ("--set", "training.steps=1", "training.stepz=2"),
        ("--set=training.steps=1", "training.stepz=2"),
        ("--set", "training.steps=1", "data.crop=[32,32]", "training.stepz=2", "--method", "cutmix"),
        ("--method", "cutmix", "--set", "training.steps=1", "--set", "training.stepz=2"),
    ],
)
@pytest.mark.parametrize("verb", ["train", "compare"])
def test_every_setting_after_a_set_is_read(
    words: tuple[str, ...], verb: str, dataset: Path, tmp_path: Path, capsys: Capsys
) -> None:
    if verb == "compare":
        words = tuple(word.replace("--method", "--methods") for word in ("--method", "cutmix", *words))
    answer = command(capsys, verb, dataset, "--out", tmp_path / "out", *words)
    assert_mistake(answer, "no setting training.stepz", "nearest: steps")


def test_a_folder_whose_name_looks_like_a_setting_is_a_folder(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("camera=2").mkdir()
    answer = command(capsys, "train", "--out", "out", "--set", "training.steps=1", "camera=2")
    assert_mistake(answer, "camera=2: neither dataset.yaml", "Write a dataset.yaml")


def test_a_setting_without_a_set_is_a_word_too_many(dataset: Path, tmp_path: Path, capsys: Capsys) -> None:
    answer = command(capsys, "train", dataset, "--out", tmp_path / "out", "training.steps=1")
    assert answer.code == 2
    assert "training.steps=1" in answer.err
