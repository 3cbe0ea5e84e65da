"""`fewmask settings`."""

import json
from importlib.resources import files
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from fewmask.cli.console import console
from fewmask.errors import UserError, choices
from fewmask.say import say


def settings(
    method: Annotated[
        str | None, typer.Argument(help="The method whose settings are listed; a wrong name lists all methods.")
    ] = None,
) -> None:
    """List every setting of a recipe with its default, in the form for --set, and its purpose."""
    # `make tables` writes this file from the recipe and the methods: importing them takes several seconds.
    catalog = json.loads(files("fewmask.cli").joinpath("settings.json").read_text(encoding="utf-8"))
    name = method or catalog["default"]
    if name not in catalog["methods"]:
        fix = f"Choose one of {choices(name, catalog['methods'])}."
        raise UserError(f"there is no method {name!r}", "method", fix)
    out = console()
    for key in catalog["methods"][name]["keys"]:
        block = catalog["shared"].get(key) or catalog["methods"][name][key]
        say(out, f"\n{key}: {block['meaning']}")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        for text, meaning in block["settings"].items():
            table.add_row(escape(f"  {text}"), escape(meaning))
        out.print(table)
