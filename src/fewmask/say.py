"""Prints lines for a person unchanged: brackets in a path are not markup, and a command can be copied whole."""

from rich.console import Console

from fewmask.errors import printable


def say(console: Console, text: str, style: str | None = None) -> None:
    """Prints text whose lines only the terminal wraps; control characters of names are escaped."""
    shown = "\n".join(printable(line) for line in text.split("\n"))
    console.print(shown, style=style, markup=False, soft_wrap=True)
