"""A file is written whole or not at all, whatever its name is and whatever else lies in its folder."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fewmask.run.atomic import is_part, part_name, write_bytes


def test_a_name_as_long_as_the_system_allows_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    write_bytes(path, b"content")
    assert path.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_write_one_file_leave_one_of_their_contents(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_bytes(tmp_path / "file", content), contents))
    assert (tmp_path / "file").read_bytes() in contents
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_that_was_laid_there_is_never_written_through(tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    stranger.write_bytes(b"kept")
    (tmp_path / "file").symlink_to(stranger)
    write_bytes(tmp_path / "file", b"new")
    assert stranger.read_bytes() == b"kept"
    assert (tmp_path / "file").read_bytes() == b"new"
    assert not (tmp_path / "file").is_symlink()


def test_names_of_parts_are_told_from_names_of_whole_files() -> None:
    assert part_name() != part_name()
    assert is_part(Path("run") / part_name())
    assert is_part(Path("run/.stage0-step00000009.part"))
    assert not is_part(Path("run/metrics.csv"))
