"""Writes two pages of the site from the code: the commands with their options, and every setting of every method."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SETTINGS = Path(__file__).resolve().parents[1] / "src" / "fewmask" / "cli" / "settings.json"


def fill_pages(app: Any, page: str, source: list[str]) -> None:
    """Puts the text from the code in place of `{{ commands }}` and `{{ settings }}`; Sphinx calls it for each page."""
    for place, text in (("{{ commands }}", commands), ("{{ settings }}", settings)):
        if place in source[0]:
            source[0] = source[0].replace(place, text())


def commands() -> str:
    """A section for each command with its help and its options."""
    from typer.main import get_command

    from fewmask.cli.app import app

    group: Any = get_command(app)
    parts = []
    for name, command in group.commands.items():
        rows = [(_usage(each), _help(each)) for each in command.params if each.name != "help"]
        parts.append(f"## fewmask {name}\n\n{command.help}\n\n{_table(('option', 'what it does'), rows)}")
    return "\n\n".join(parts)


def settings() -> str:
    """A section for each block of a recipe; blocks that differ between methods have one for each method."""
    catalog = json.loads(SETTINGS.read_text(encoding="utf-8"))
    parts = [_block(key, block) for key, block in catalog["shared"].items()]
    for name, blocks in catalog["methods"].items():
        parts += [_block(f"{key} of {name}", blocks[key]) for key in blocks if key != "keys"]
    return "\n\n".join(parts)


def _block(title: str, block: dict[str, Any]) -> str:
    rows = [(f"`{text}`", meaning) for text, meaning in block["settings"].items()]
    return f"## {title}\n\n{block['meaning']}\n\n{_table(('setting and default', 'meaning'), rows)}"


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{(parameter.metavar or parameter.name).upper()}`"
    return ", ".join(f"`{text}`" for text in (*parameter.opts, *parameter.secondary_opts))


def _help(parameter: Any) -> str:
    return " ".join((getattr(parameter, "help", None) or "").split())


def _table(heads: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [heads, ("---", "---"), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {first} | {second} |" for first, second in lines)
