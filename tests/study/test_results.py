"""The one table of trained runs: a row comes back as it was written, stands there once, and survives a kill."""

from pathlib import Path

import pytest

from fewmask.errors import UserError
from fewmask.study.key import Run
from fewmask.study.results import (
    COLUMNS,
    Cost,
    Origin,
    Place,
    ResultRow,
    ResultTable,
    scores_as_text,
    scores_from_text,
    scores_of,
)

RUN = Run(
    *("streets", "camvid", "", "12", "seed0", 0, "class_bank", "training.learning_rate=0.001", "", 500),
    *("deeplabv3plus-mobilenetv2_100", "imagenet.safetensors", "0.25", "88x120"),
)
SCORES = {
    Place("val", "student"): 41.5,
    Place("test", "student"): 40.25,
    Place("test", "teacher"): 40.75,
    Place("test", "student", "Sky"): 88.0,
    Place("test", "student", "traffic sign/light; 50% = half"): None,
}
ROW = ResultRow(
    RUN, "class_bank", "student", SCORES, Cost(321, 1.744, 0.002595, None), Origin("python, a.py", "abc", "cpu", "day")
)


def test_a_row_comes_back_as_it_was_written(tmp_path: Path) -> None:
    table = ResultTable(tmp_path / "new" / "rows.csv")
    assert table.rows() == []
    assert table.append(ROW)
    (row,) = table.rows()
    assert row == ROW
    assert row.score("test") == 40.25
    assert row.score("test", "teacher") == 40.75
    assert row.score("test", class_name="Sky") == 88.0
    with pytest.raises(KeyError):
        row.score("val", "teacher")


def test_a_run_stands_in_the_table_once_whatever_it_scored(tmp_path: Path) -> None:
    table = ResultTable(tmp_path / "rows.csv")
    table.append(ROW)
    again = ROW._replace(scores={Place("test", "student"): 1.0})
    assert table.holds(RUN)
    assert not table.append(again)
    assert table.rows() == [ROW]


@pytest.mark.parametrize("field", Run._fields)
def test_a_run_that_differs_in_any_field_of_the_key_is_another_row(tmp_path: Path, field: str) -> None:
    table = ResultTable(tmp_path / "rows.csv")
    table.append(ROW)
    changed = {name: value + 1 if isinstance(value, int) else value + "x" for name, value in RUN._asdict().items()}
    other = Run._make((RUN._asdict() | {field: changed[field]}).values())
    assert not table.holds(other)
    assert table.append(ROW._replace(run=other))
    assert [row.run for row in table.rows()] == [RUN, other]


def test_runs_of_different_classes_share_a_table(tmp_path: Path) -> None:
    table = ResultTable(tmp_path / "rows.csv")
    other = ROW._replace(run=RUN._replace(data="voc"), scores={Place("val", "teacher", "cat"): 3.0})
    table.append(ROW)
    table.append(other)
    assert table.rows() == [ROW, other]


def test_means_stand_before_classes_and_read_as_written() -> None:
    text = scores_as_text({Place("test", "student", "Sky"): 88.571, Place("test", "student"): 46.18})
    assert text == "test/student=46.18; test/student/Sky=88.57"
    assert scores_from_text(scores_as_text(SCORES)) == SCORES


@pytest.mark.parametrize("text", ["test=4", "test/student", "a/b/c/d=4", "test/student=high"])
def test_what_is_no_score_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"score|float"):
        scores_from_text(text)


def test_half_a_line_is_no_row_and_is_cut_off_by_the_next(tmp_path: Path) -> None:
    table = ResultTable(tmp_path / "rows.csv")
    table.append(ROW)
    whole = table.path.read_bytes()
    table.path.write_bytes(whole + b"streets,camvid,,12,se")
    assert table.rows() == [ROW]
    other = ROW._replace(run=RUN._replace(seed=1))
    table.append(other)
    assert table.path.read_bytes().startswith(whole + b"streets,camvid,,12,seed0,1,")
    assert table.rows() == [ROW, other]


def test_half_a_header_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("stu")
    ResultTable(path).append(ROW)
    assert ResultTable(path).rows() == [ROW]


def test_another_csv_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("method,miou\nclass_bank,47\n")
    with pytest.raises(UserError, match="no table of results"):
        ResultTable(path).append(ROW)
    assert path.read_text() == "method,miou\nclass_bank,47\n"


def test_a_row_that_cannot_be_read_is_named_by_its_line(tmp_path: Path) -> None:
    table = ResultTable(tmp_path / "rows.csv")
    table.append(ROW)
    table.path.write_text(table.path.read_text().replace(",500,", ",many,"))
    with pytest.raises(UserError, match=r"rows\.csv, line 2"):
        table.rows()


def test_scores_of_an_evaluation_are_those_of_every_network_that_it_has() -> None:
    student = {"miou": 0.40254, "per_class": {"sky": 0.5, "pole": None}}
    evaluated = {"split": "val", **student, "networks": ["student"], "student": student}
    assert scores_of(evaluated) == {
        Place("val", "student"): 40.25,
        Place("val", "student", "sky"): 50.0,
        Place("val", "student", "pole"): None,
    }
    assert len(scores_of(evaluated | {"networks": ["student", "second"], "second": student})) == 6


def test_columns_have_one_meaning_each() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS)
