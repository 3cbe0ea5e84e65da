"""metrics.csv as numbers, whatever a killed run has left at its end."""

from pathlib import Path

import pytest

from fewmask.errors import UserError
from fewmask.run.folder import RunFolder
from fewmask.run.metrics import MetricsWriter, read_metrics


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_what_is_written_is_read_as_numbers_and_curves(run: RunFolder) -> None:
    writer = MetricsWriter(run, 0, pytest.fail)
    writer.append(20, {"loss/sup": 1.5, "bank_filled/road, wet": 0.25})
    writer.append(40, {"loss/sup": float("nan"), "loss/contrast": 1e-9})
    metrics = read_metrics(run)
    assert metrics.columns == ("step", "loss/sup", "bank_filled/road, wet", "loss/contrast")
    assert metrics.rows[0] == {"step": 20, "loss/sup": 1.5, "bank_filled/road, wet": 0.25}
    assert metrics.rows[1].keys() == {"step", "loss/sup", "loss/contrast"}
    assert metrics.curve("loss/contrast") == ([40], [1e-9])
    assert metrics.curve("bank_filled/road, wet") == ([20], [0.25])
    assert metrics.curve("loss/sup").steps == [20, 40]
    assert metrics.curve("nothing") == ([], [])


@pytest.mark.parametrize("half", ["", "3", "3,0.1", "3,0.123,7"])
def test_a_row_that_is_half_written_does_not_count(half: str, run: RunFolder) -> None:
    run.metrics_file.write_text(f"step,loss/sup\n1,0.5\n2,0.25\n{half}")
    assert read_metrics(run).curve("loss/sup") == ([1, 2], [0.5, 0.25])


def test_a_run_that_has_written_nothing_yet_has_no_rows(run: RunFolder) -> None:
    for text in ("", "step,loss/su", "step,loss/sup\n"):
        run.metrics_file.write_text(text)
        assert read_metrics(run).rows == []


def test_rows_after_the_first_step_of_a_resumed_run_are_dropped(run: RunFolder) -> None:
    run.metrics_file.write_text("step,loss/sup\n1,0.5\n2,0.25\n3,0.2\n4,0")
    writer = MetricsWriter(run, 2, pytest.fail)
    assert read_metrics(run).curve("loss/sup") == ([1, 2], [0.5, 0.25])
    writer.append(3, {"loss/sup": 7.0})
    assert read_metrics(run).curve("loss/sup") == ([1, 2, 3], [0.5, 0.25, 7.0])


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"step,loss/sup\n1,0.5,9\n", r"metrics\.csv: line 2 has more or fewer cells than the first\. Copy it again"),
        (b"step,loss/sup\n1\n2,0.5\n", r"metrics\.csv: line 2 has more or fewer cells than the first\. Copy it again"),
        (
            b"step,loss/sup\n1,low\n",
            r"metrics\.csv: the column loss/sup holds 'low', which is no number\. Copy it again",
        ),
        (b'step,loss/sup\n1,"' + b"0" * 200_000 + b"\n", r"metrics\.csv: the file cannot be read \(field larger"),
        (b"step;loss/sup\n1;0,5\n", r"metrics\.csv: line 2 has more or fewer cells"),
        (b"step;loss/sup\n1;2\n", r"metrics\.csv: it has no column step"),
        ("step,loss/sup\n1,0.5\n".encode("utf-16"), r"metrics\.csv: the file cannot be read"),
        (b"loss/sup\n1\n", r"metrics\.csv: it has no column step\. Copy it again"),
        (b"step,loss/sup\n\xff,1\n", r"metrics\.csv: the file cannot be read \('utf-8' codec"),
    ],
)
def test_damaged_metrics_are_one_line_to_a_reader_and_do_not_stop_a_run(
    content: bytes, line: str, run: RunFolder
) -> None:
    run.metrics_file.write_bytes(content)
    with pytest.raises(UserError, match=line) as caught:
        read_metrics(run)
    assert "\n" not in str(caught.value)
    told: list[str] = []
    writer = MetricsWriter(run, 5, told.append)
    writer.append(6, {"loss/sup": 7.0})
    if b"low" in content:  # which a resumed run copies as it stands
        assert not told
        return
    assert len(told) == 1
    assert f"{run.metrics_file} is kept as metrics.csv.damaged and begun anew" in told[0]
    assert (run.path / "metrics.csv.damaged").read_bytes() == content
    assert read_metrics(run).curve("loss/sup") == ([6], [7.0])


def test_a_table_that_another_program_changes_or_removes_while_a_run_writes_does_not_stop_it(run: RunFolder) -> None:
    told: list[str] = []
    writer = MetricsWriter(run, 0, told.append)
    writer.append(1, {"loss/sup": 1.0})
    run.metrics_file.unlink()
    writer.append(2, {"loss/sup": 2.0})
    assert read_metrics(run).curve("loss/sup") == ([2], [2.0])
    for number in ("", "1"):
        run.metrics_file.write_bytes("step;loss/sup\n1;1\n".encode("utf-16"))
        writer.append(3, {"loss/sup": 3.0, f"new{number}": 0.0})
        assert read_metrics(run).curve("loss/sup") == ([3], [3.0])
        assert (run.path / f"metrics.csv.damaged{number}").exists()
    assert len(told) == 2


def test_a_table_that_a_spreadsheet_saved_with_its_mark_is_read(run: RunFolder) -> None:
    run.metrics_file.write_bytes(b"\xef\xbb\xbfstep,loss/sup\r\n1,0.5\r\n2,0.25\r\n")
    MetricsWriter(run, 2, pytest.fail).append(3, {"loss/sup": 7.0})
    assert read_metrics(run).curve("loss/sup") == ([1, 2, 3], [0.5, 0.25, 7.0])


def test_lost_metrics_are_one_line(run: RunFolder) -> None:
    with pytest.raises(UserError, match=r"the run has lost its metrics\.csv\. Copy the folder again, or train anew"):
        read_metrics(run)
