"""A file of lines after a full disk, and under two processes."""

import multiprocessing
from pathlib import Path

import pytest

from fewmask.errors import UserError
from fewmask.study.lines import append_line, whole_lines


def test_a_line_that_the_disk_has_no_room_for_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "rows.csv"
    append_line(path, ["a"], ["1"])
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        append_line(path, ["a"], ["2"])
    assert whole_lines(path) == path.read_text() == "a\n1\n"


def test_lines_of_several_processes_are_all_there_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    append_line(path, ["who", "text"], ["first", ""])
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(path, who)) for who in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = whole_lines(path).splitlines()
    assert lines[:2] == ["who,text", "first,"]
    assert sorted(lines[2:]) == sorted(f"{who},{who * 2000}" for who in "ab" for _ in range(50))


def _append_many(path: Path, who: str) -> None:
    for _ in range(50):
        append_line(path, ["who", "text"], [who, who * 2000])
