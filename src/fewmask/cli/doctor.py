"""`fewmask doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console, progress
from fewmask.say import say


def doctor(
    data: Annotated[Path, typer.Argument(help="A dataset folder.")],
    strict: Annotated[bool, typer.Option(help="Exit with code 1 if there are warnings.")] = False,
) -> None:
    """Read every image and mask, and say what is wrong and what to do about it."""
    from fewmask.data.doctor import examine
    from fewmask.data.doctor.printing import print_diagnosis

    try:
        with progress() as bar:
            diagnosis = examine(data, bar)
    except KeyboardInterrupt:
        say(console(), "Stopped: not every file was read.")
        raise typer.Exit(130) from None
    print_diagnosis(diagnosis, console())
    raise typer.Exit(diagnosis.exit_code(strict))
