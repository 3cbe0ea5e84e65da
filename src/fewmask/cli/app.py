"""The table of the commands. A person's mistake becomes one line and exit code 2."""

import sys
import warnings
from importlib.metadata import version
from typing import Annotated

import typer

from fewmask.cli.compare import compare
from fewmask.cli.convert import convert
from fewmask.cli.demo import demo
from fewmask.cli.doctor import doctor
from fewmask.cli.evaluate import evaluate
from fewmask.cli.export import export
from fewmask.cli.predict import predict
from fewmask.cli.report import report
from fewmask.cli.settings import settings
from fewmask.cli.several_settings import SettingsCommand
from fewmask.cli.train import train
from fewmask.errors import UserError
from fewmask.faults import machine_faults_named

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train a semantic segmentation model from a handful of labeled masks and many unlabeled images.",
)
for command in (demo, doctor, convert, train, compare, evaluate, report, predict, export, settings):
    app.command(cls=SettingsCommand if command in (train, compare) else None)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fewmask {version('fewmask')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options that come before a command."""


def run() -> None:
    """Runs the command that the arguments of the process name."""
    warnings.filterwarnings("ignore", module="torch|lightning|timm|tensorboard|PIL")
    try:
        with machine_faults_named():
            app()
    except UserError as error:
        typer.echo(f"fewmask: {error}", err=True)
        sys.exit(2)
