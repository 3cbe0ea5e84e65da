"""`fewmask settings`."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from fewmask.cli.console import console
from fewmask.say import say


def settings(
    method: Annotated[str | None, typer.Argument(help="The recipe's method; a wrong name lists them.")] = None,
) -> None:
    """List every setting of a recipe with its default, in the form for --set, and its purpose."""
    from fewmask.methods import DEFAULT
    from fewmask.recipe import blocks_of

    out = console()
    for block in blocks_of(method or DEFAULT):
        say(out, f"\n{block.key}: {block.meaning}")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        for setting in block.settings:
            table.add_row(escape(f"  {setting.text}"), escape(setting.meaning))
        out.print(table)
