"""Output that survives its reader: a training is not lost when nobody reads its output any more."""

import os
from typing import Any, TextIO


class LastingStream:
    """A stream that goes silent when its reader leaves, as with `| head -1` or a closed terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._fall_silent()
            return len(text)
        except UnicodeEncodeError as error:  # e.g. a file in an encoding that lacks the letters of a class
            return self._stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._fall_silent()

    def _fall_silent(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # also for what Python still has to write
