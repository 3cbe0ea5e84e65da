"""What the machine refuses is one line; a mistake of the program stays a traceback."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from fewmask.errors import UserError
from fewmask.faults import as_user_error, machine_faults_named
from fewmask.use.device import enough_memory
from toy import assert_mistake, command, write_recipe

Capsys = pytest.CaptureFixture[str]


def too_many_numbers() -> None:
    torch.empty(2**60)


def too_many_bytes() -> None:
    bytearray(2**60)


def happen(fault: Callable[[], None] | Exception) -> None:
    if isinstance(fault, Exception):
        raise fault
    fault()


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (
            too_many_numbers,
            "the memory of the device is full (",
        ),
        (too_many_bytes, "the memory of the device is full. Free it"),
        (RuntimeError("could not create a primitive"), "the memory of the device is full (could not create"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "the memory of the device is full (CUDA out of mem"),
        (RuntimeError("can't start new thread"), "no more threads can be started. Allow more memory and processes"),
        (RuntimeError("unable to open shared memory object </x>: Too many open files (24)"), "no more files can be"),
        (RuntimeError("DataLoader worker is killed: out of shared memory"), "have no room in /dev/shm. Set data.w"),
        (OSError(errno.EMFILE, "", "/x"), "/x: the system refuses it (Too many open files). Allow more open files"),
        (OSError(errno.ENOSPC, "", "/x"), "/x: the system refuses it (No space left on device). Free some space"),
        (OSError(errno.ENOENT, "", "/x"), "/x: the system refuses it (No such file or directory). Put it back"),
        (PermissionError(errno.EACCES, "", "/x"), "/x: the system refuses it (Permission denied). Make it readable"),
        (BlockingIOError(errno.EAGAIN, ""), "the system refuses it (Resource temporarily unavailable). Allow more m"),
        (RuntimeError("[gloo/transport/tcp] Connection closed by peer [127.0.0.1]"), "another process of the run"),
    ],
)
def test_what_the_machine_refuses_is_one_line(fault: Callable[[], None] | Exception, line: str) -> None:
    with pytest.raises(UserError) as caught, machine_faults_named():
        happen(fault)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bug", [RuntimeError("shapes differ"), ValueError("x"), KeyError("memory"), OSError("odd")])
def test_a_mistake_of_the_program_is_not_hidden(bug: Exception) -> None:
    assert as_user_error(bug) is None
    with pytest.raises(type(bug)), machine_faults_named():
        raise bug


def test_a_full_memory_of_python_is_told_with_the_advice_of_its_place() -> None:
    with pytest.raises(UserError, match=r"the memory of the device is full\. Cut them\."), enough_memory("Cut them."):
        too_many_bytes()


LONG = "x" * 5000


def test_arguments_that_no_file_system_takes_are_one_line(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset)
    for words in (
        ("train", LONG, "--out", tmp_path / "run"),
        ("train", f"{LONG}.yaml", "--out", tmp_path / "run"),
        ("train", recipe, "--out", tmp_path / LONG),
        ("train", recipe, "--out", tmp_path / "run", "--labels", LONG),
        ("train", recipe, "--out", tmp_path / "run", "--set", f"net.weights={LONG}"),
        ("train", recipe, "--out", tmp_path / "run", "--set", f"data.val_list={LONG}"),
        ("train", recipe, "--out", tmp_path / "run", "--set", "data.root=a\0b"),
        ("train", recipe, "--out", tmp_path / "run", "--set", "data.root=a\udc80b"),
        ("train", recipe, "--out", tmp_path / "run", "--set", "data.train_list=a\0b"),
        ("train", recipe, "--out", tmp_path / "run", "--set", "net.weights=a\0b"),
        ("train", recipe, "--out", tmp_path / "run", "--set", "training.steps=9223372036854775808"),
        (
            "train",
            recipe,
            "--out",
            tmp_path / "run",
            "--method",
            "dmt",
            "--set",
            "method.num_phases=9223372036854775807",
        ),
        ("train", recipe, "--out", tmp_path / "run", "--method", LONG),
        ("train", recipe, "--out", tmp_path / "run", "--labels", "9" * 5000),
        ("train", recipe, "--out", tmp_path / "run", "--labels", f"1/{'9' * 5000}"),
        ("train", "--resume", LONG),
        ("doctor", LONG),
        ("evaluate", LONG),
    ):
        answer = command(capsys, *words)
        assert_mistake(answer)
        assert len(answer.err) < 3000
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", [".", "train", "train/images", "train/masks", "val", "val/masks", "unlabeled"])
def test_a_folder_without_permission_is_one_line(
    place: str, dataset: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, closed = write_recipe(tmp_path / "recipe.yaml", dataset, score_every=1), dataset / place
    for name, of_itself in (("listdir", True), ("scandir", True), ("stat", False), ("open", False)):
        monkeypatch.setattr(os, name, refusing(getattr(os, name), closed, of_itself))  # also for root, who may do all
    assert_mistake(command(capsys, "train", recipe, "--out", tmp_path / "run"), closed, "(Permission denied)")


def refusing(call: Any, closed: Path, of_itself: bool) -> Any:
    """The call, which refuses what lies in the closed folder and, if it reads folders, the folder itself."""

    def refused(path: Any = ".", *arguments: Any, **options: Any) -> Any:
        if isinstance(path, str | Path) and (closed in Path(path).parents or (of_itself and Path(path) == closed)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return call(path, *arguments, **options)

    return refused


def test_ctrl_c_while_libraries_load_is_one_line(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(error: type[BaseException] | None) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise (error or KeyboardInterrupt) from None

    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)  # whatever runs the tests
    for error in (None, ImportError, SystemError):  # which libraries make of it
        monkeypatch.setattr("fewmask.cli.app.run", lambda error=error: interrupted(error))
        answer = command(capsys, "train")
        assert (answer.code, answer.err) == (130, "fewmask: stopped by Ctrl-C.\n")
    monkeypatch.setattr("fewmask.cli.app.run", Mock(side_effect=ImportError))
    with pytest.raises(ImportError):
        command(capsys, "train")
