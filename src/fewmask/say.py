"""Prints lines for a person unchanged: brackets in a path are not markup, and a command can be copied whole."""

from importlib.util import find_spec

from rich.console import Console

from fewmask.errors import printable


def say(console: Console, text: str, style: str | None = None) -> None:
    """Prints text whose lines only the terminal wraps; control characters of names are escaped."""
    shown = "\n".join(printable(line) for line in text.split("\n"))
    console.print(shown, style=style, markup=False, soft_wrap=True)


def shows_bars(console: Console) -> bool:
    """Whether a bar that moves can be shown: in a terminal, and in a notebook that has ipywidgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
