"""Lines for a person: as they are, so that a path with brackets is no markup and a command can be copied whole."""

from rich.console import Console


def say(console: Console, text: str, style: str | None = None) -> None:
    """Prints one line, wrapped by the terminal alone."""
    console.print(text, style=style, markup=False, soft_wrap=True)
