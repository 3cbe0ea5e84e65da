"""The command line: every command parses, calls one function, and prints."""

import signal
import sys
from types import FrameType

__all__ = ["main"]


def main() -> None:
    """Runs the command line. Ctrl-C ends it in one line, from the moment on in which libraries are being loaded."""
    asked = False

    def ask(_: int, __: FrameType | None) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    try:
        handles = signal.getsignal(signal.SIGINT) == signal.default_int_handler
        before = signal.signal(signal.SIGINT, ask) if handles else None
    except ValueError:  # not the main thread
        before = None
    try:
        from fewmask.cli.app import run

        run()
    except BaseException:  # a library that is interrupted while it loads raises nearly anything
        if not asked:
            raise
        print("fewmask: stopped by Ctrl-C.", file=sys.stderr)
        sys.exit(130)
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
