"""Several processes do what one would do; they end when their parent says so or is gone, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import fewmask

# A script, because processes import the module from which they get their work; this one imports no torch.
SCRIPT = """
import os, signal, sys, time
from contextlib import closing
from pathlib import Path
from fewmask.data.processes import in_processes

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell has background jobs ignore

def work(item):
    if sys.argv[1] == "dies" and item == 30:
        os._exit(3)
    if sys.argv[1] == "waits":
        Path(sys.argv[2], str(os.getpid())).touch()
        time.sleep(0.05)
    return item, os.getpid()

if __name__ == "__main__":
    items = range(3000 if sys.argv[1] == "waits" else 60)  # it must not be done before it is stopped
    try:
        with closing(in_processes(work, items, "json", look=float(sys.argv[3]))) as results:
            for item, process in results:
                print(item, "here" if process == os.getpid() else "there")
    except BaseException as error:
        print(type(error).__name__)
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script in a folder of its own."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def _start(script: Path, case: str, look: float) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(Path(fewmask.__file__).parents[1])}
    (script.parent / "seen").mkdir()
    command = [sys.executable, str(script), case, str(script.parent / "seen"), str(look)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def _lines(process: "subprocess.Popen[str]") -> list[str]:
    out, err = process.communicate(timeout=60)
    assert err == ""
    return out.splitlines()


@pytest.mark.parametrize(("look", "place"), [(0.0, "there"), (60.0, "here")])
def test_results_come_in_order_from_other_processes_if_they_are_worth_it(script: Path, look: float, place: str) -> None:
    assert _lines(_start(script, "works", look)) == [f"{item} {place}" for item in range(60)]


def test_a_process_that_dies_is_an_error_and_the_results_before_it_are_kept(script: Path) -> None:
    *before, error = _lines(_start(script, "dies", 0.0))
    assert error == "BrokenProcessPool"
    assert before == [f"{item} there" for item in range(len(before))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_processes_end_with_their_parent(script: Path, number: int) -> None:
    process = _start(script, "waits", 0.0)
    seen = script.parent / "seen"
    assert _happens(lambda: any(seen.iterdir()))
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: the others hear it too
        assert _lines(process)[-1] == "KeyboardInterrupt"
    else:
        process.kill()
        process.communicate(timeout=60)
    workers = [int(path.name) for path in seen.iterdir()]
    assert _happens(lambda: not any(map(_lives, workers)))


def _happens(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true within a minute."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
