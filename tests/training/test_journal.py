"""The log: every value in its column, and nothing twice after a resume."""

import csv
import io
import re
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewmask.errors import UserError
from fewmask.methods import Step
from fewmask.run.folder import RunFolder
from fewmask.training.hooks import journal as journal_module
from fewmask.training.hooks.journal import Journal, peak_memory
from toy import short_files

CLASSES = ("road, wet", "[other]", "Weiß")
ONE = torch.tensor(1.0)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def open_journal(run: RunFolder, first: int = 0, total: int = 100) -> tuple[Journal, io.StringIO]:
    text = io.StringIO()
    return Journal(run, CLASSES, total, first, Console(file=text, width=80)), text


@contextmanager
def shown(journal: Journal) -> Iterator[None]:
    """The journal from the start of a run to its end."""
    journal.on_start(at(0))
    try:
        yield
    finally:
        journal.on_end(at(0))


def at(done: int) -> Any:
    """What the journal asks of a trainer after so many steps."""
    return SimpleNamespace(done=done, logs=True, waited=0.0, rate=0.1, checked=lambda losses: losses)


def rows(run: RunFolder) -> list[dict[str, str]]:
    with run.metrics_file.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_line_holds_losses_watched_values_and_values_per_class(run: RunFolder) -> None:
    journal, text = open_journal(run)
    with shown(journal):
        watch = {"confidence": torch.tensor(0.25), "filled": torch.tensor([0.1, 0.2, 0.3])}
        journal.write(20, {"sup": torch.tensor(1.5), "pseudo": torch.tensor(0.5)}, watch, 1e-3)
    (row,) = rows(run)
    expected = {"step": 20, "loss/sup": 1.5, "loss/pseudo": 0.5, "learning_rate": 1e-3, "confidence": 0.25}
    expected |= {"filled/road, wet": 0.1, "filled/[other]": 0.2, "filled/Weiß": 0.3}
    assert {name: float(row[name]) for name in expected} == pytest.approx(expected)
    assert text.getvalue().startswith("step 20/100 | sup 1.500 pseudo 0.500 | ")
    assert text.getvalue().count("\n") == 1


def test_term_that_starts_later_gets_a_column_and_leaves_the_earlier_lines(run: RunFolder) -> None:
    journal, _ = open_journal(run)
    with shown(journal):
        journal.write(1, {"sup": ONE}, {}, 0.1)
        journal.write(2, {"sup": 2 * ONE, "contr": 3 * ONE}, {}, 0.1)
        journal.write(3, {"sup": 4 * ONE}, {}, 0.1)
    assert [(row["step"], row["loss/sup"], row["loss/contr"]) for row in rows(run)] == [
        ("1", "1", ""),
        ("2", "2", "3"),
        ("3", "4", ""),
    ]


def test_resumed_run_drops_what_came_after_its_checkpoint(run: RunFolder) -> None:
    journal, _ = open_journal(run)
    with shown(journal):
        for step in (1, 2, 3):
            journal.write(step, {"sup": step * ONE}, {"filled": torch.zeros(3)}, 0.1)
    with run.metrics_file.open("a") as file:
        file.write("4,0.1")  # the line that was being written when the run was killed
    journal, _ = open_journal(run, first=2)
    with shown(journal):
        journal.write(3, {"sup": 30 * ONE}, {"filled": torch.ones(3)}, 0.1)
    assert [(row["step"], row["loss/sup"], row["filled/road, wet"]) for row in rows(run)] == [
        ("1", "1", "0"),
        ("2", "2", "0"),
        ("3", "30", "1"),
    ]


def test_tensorboard_shows_every_step_once_after_a_resume(run: RunFolder) -> None:
    for first, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        journal, _ = open_journal(run, first)
        with shown(journal):
            for step in steps:
                journal.write(step, {"sup": (10 * first + step) * ONE}, {}, 0.1)
    events = EventAccumulator(str(run.path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/sup")] == [(1, 1), (2, 2), (3, 23), (4, 24)]


def test_output_that_is_no_terminal_gets_twenty_lines(run: RunFolder) -> None:
    journal, text = open_journal(run, total=1000)
    with shown(journal):
        for step in range(10, 1001, 10):
            journal.write(step, {"sup": ONE}, {}, 0.1)
    assert len(text.getvalue().splitlines()) == 20


def test_terminal_shows_steps_and_time_left_beside_long_notes(run: RunFolder) -> None:
    text = io.StringIO()
    losses = dict.fromkeys(("sup", "entropy", "pseudo", "contrast_labeled", "contrast_unlabeled"), ONE)
    with shown(journal := Journal(run, CLASSES, 2, 0, Console(file=text, width=80, force_terminal=True))):
        for done in (1, 2):
            journal.on_step(at(done), Step(losses, {}))
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue()).replace("\r", "\n").splitlines()
    (bar,) = {line.strip() for line in lines if "2/2" in line}
    assert re.fullmatch(r"training ━+ 2/2 0:00:0\d left 0:00:00", bar)
    assert "contrast_unlabeled 1.000" in " ".join(line.strip() for line in lines)


def take_two_steps(journal: Journal) -> None:
    with shown(journal):
        for done in (1, 2):
            journal.on_step(at(done), Step({"sup": ONE}, {}))


def plain(value: Any) -> str:
    """What a notebook is given to show, without colors."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", value.text)


class Output:
    """Stands for the widget of ipywidgets in whose place a notebook shows what is printed."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def clear_output(self, wait: bool) -> None: ...


def test_notebook_shows_a_bar_if_it_has_widgets_and_lines_otherwise(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    notebook = SimpleNamespace(display=lambda *values, **_: shown.extend(values))
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=notebook))
    console = Console(force_jupyter=True)
    monkeypatch.setattr("fewmask.say.find_spec", lambda name: None)
    take_two_steps(Journal(run, CLASSES, 2, 0, console))
    assert not any(isinstance(value, Output) for value in shown)
    assert any("step 2/2" in plain(value) for value in shown)

    shown.clear()
    monkeypatch.setitem(sys.modules, "ipywidgets", SimpleNamespace(Output=Output))
    monkeypatch.setattr("fewmask.say.find_spec", lambda name: object())
    take_two_steps(Journal(run, CLASSES, 2, 0, console))
    assert any(isinstance(value, Output) for value in shown)
    assert any("2/2" in plain(value) for value in shown if not isinstance(value, Output))


def test_log_that_cannot_be_opened_is_one_line(run: RunFolder) -> None:
    with pytest.raises(UserError, match=r"the log could not be written \(No such file .*\); the run folder is gone"):
        open_journal(RunFolder(run.path / "deleted"))


@pytest.mark.parametrize("longest", [60, 300, 1000])
def test_full_disk_while_logging_is_one_line(run: RunFolder, longest: int) -> None:
    def write_much() -> None:
        journal, _ = open_journal(run)
        with shown(journal):
            for step in range(1, 30):
                journal.write(step, {"sup": ONE}, {"filled": torch.ones(3)}, 0.1)

    with short_files(longest), pytest.raises(UserError, match=r"the log could not be written \(File too large\)"):
        write_much()


def test_journal_works_where_there_is_no_resource_module(monkeypatch: pytest.MonkeyPatch) -> None:
    assert peak_memory() > 2**20
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(sys, "platform", "win32")
    assert journal_module.__file__ is not None
    assert runpy.run_path(journal_module.__file__)["peak_memory"]() == 0


def test_terminal_shows_a_walk_through_the_pool_while_it_lasts(run: RunFolder) -> None:
    text = io.StringIO()
    with shown(journal := Journal(run, CLASSES, 2, 0, Console(file=text, width=80, force_terminal=True))):
        for done in (1, 2, 3):
            journal.on_walk(at(0), done, total=3)
        journal._progress.refresh()
    seen = text.getvalue()
    assert "labeling the pool" in seen
    assert "labeling the pool" not in seen[seen.rindex("training") :]


def test_time_in_which_no_step_is_taken_does_not_count(run: RunFolder) -> None:
    journal, _ = open_journal(run)
    with shown(journal):
        journal.on_pause(at(0), -1000.0)  # as if the log had begun so much earlier
        journal.write(10, {"sup": ONE}, {}, 0.1)
    assert float(rows(run)[0]["steps_per_second"]) == pytest.approx(10 / 1000, rel=0.1)
