"""Prints lines for a person unchanged: brackets in a path are not markup, and a command can be copied whole."""

from rich.console import Console


def say(console: Console, text: str, style: str | None = None) -> None:
    """Prints one line, which only the terminal wraps."""
    console.print(text, style=style, markup=False, soft_wrap=True)
