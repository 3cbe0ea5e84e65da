"""Lines that a person reads and copies."""

import io
import os
from pathlib import Path

import pytest

from fewmask.cli.lasting_stream import LastingStream
from fewmask.errors import in_command


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
