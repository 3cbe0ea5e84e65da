"""Lines that a person reads and copies."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from fewmask.cli.lasting_stream import LastingStream
from fewmask.errors import UserError, in_command
from fewmask.say import say


@pytest.mark.parametrize(("system", "word"), [("posix", "'my runs/a'"), ("nt", '"my runs/a"')])
def test_a_path_in_a_command_is_one_word_of_the_systems_shell(
    system: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, plain = Path("my runs/a"), Path("runs/a")
    monkeypatch.setattr(os, "name", system)
    assert in_command(path) == word
    assert in_command(plain) == "runs/a"


def test_letters_that_a_stream_has_not_are_escaped_and_the_rest_is_written() -> None:
    content = io.BytesIO()
    stream = LastingStream(io.TextIOWrapper(content, encoding="ascii"))
    stream.write("Straße, car\n")
    stream.flush()
    assert content.getvalue() == b"Stra\\xdfe, car\n"


HOSTILE = "a\x1b]0;title\x07\x1b[2Jb\x9b1mc\nd\re\u2028f\u202eg\udc80h\x7f\ufeff"
ESCAPED = r"a\x1b]0;title\x07\x1b[2Jb\x9b1mc\nd\re\u2028f\u202eg\udc80h\x7f\ufeff"


def test_a_name_cannot_tell_the_terminal_what_to_do() -> None:
    assert str(UserError(f"the mask {HOSTILE} is odd", HOSTILE, f"Rename {HOSTILE}.")) == (
        f"{ESCAPED}: the mask {ESCAPED} is odd. Rename {ESCAPED}."
    )
    assert UserError("odd", HOSTILE).where == HOSTILE  # the file itself can still be found
    stream = io.StringIO()
    say(Console(file=stream, width=500), f"[b]{HOSTILE} Straße 道路 👩‍🌾")
    assert stream.getvalue() == f"[b]{ESCAPED.replace(chr(92) + 'n', chr(10))} Straße 道路 👩‍🌾\n"
