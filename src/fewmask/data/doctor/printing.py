"""Prints the doctor's findings: a table of the splits, the share of each class, and the problems by remedy."""

from math import ceil

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fewmask.data.classes import default_palette
from fewmask.data.doctor import Diagnosis, Problem
from fewmask.errors import printable

BAR_WIDTH = 10  # three columns fit into 80 characters
MAX_FILES = 5  # number of files that are shown for each group of problems
STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Print two tables and then the problems; problems with the same remedy are printed together."""
    layout = (
        f": {diagnosis.layout} (a dataset.yaml there would make it a folder of your own)" if diagnosis.layout else ""
    )
    console.print(f"\n[bold]{escape(printable(str(diagnosis.root)))}[/]{layout}")
    console.print(_splits_table(diagnosis))
    if any(diagnosis.pixel_share.values()):
        console.print("\n[bold]share of labeled pixels[/]")
        console.print(_shares_table(diagnosis, "#" if console.options.ascii_only else "■"))
    for level in STYLES:
        problems = [problem for problem in diagnosis.problems if problem.level == level]
        if problems:
            _print_problems(level, problems, console)
    if diagnosis.exit_code() == 0:
        console.print("\n[bold green]Ready to train.[/]")


def _splits_table(diagnosis: Diagnosis) -> Table:
    table = Table("split", box=SIMPLE_HEAD)
    table.add_column("images", justify="right")
    table.add_column("with masks", justify="right")
    for split, num_images in diagnosis.num_images.items():
        table.add_row(split, str(num_images or "-"), str(diagnosis.num_labeled[split] or "-"))
    if diagnosis.size_range:
        smallest, largest = (f"{width} x {height}" for height, width in diagnosis.size_range)
        table.caption = f"size {smallest}" if smallest == largest else f"sizes {smallest} to {largest}"
    return table


def _shares_table(diagnosis: Diagnosis, mark: str) -> Table:
    """A row for each class and a column for each split, with bars made of `mark`; the largest share has a full bar."""
    shares = {split: share for split, share in diagnosis.pixel_share.items() if share is not None}
    names = list(dict.fromkeys(name for share in shares.values() for name in share))
    colors = diagnosis.classes.colors if diagnosis.classes else default_palette(len(names))
    largest = max(max(share.values()) for share in shares.values())
    table = Table(box=SIMPLE_HEAD)
    table.add_column("class", no_wrap=True, overflow="ellipsis")
    for split in diagnosis.pixel_share:
        table.add_column(split, no_wrap=True)
    for name, (red, green, blue) in zip(names, colors, strict=True):
        row = [Text.assemble((f"{mark} ", f"rgb({red},{green},{blue})"), name)]
        for split in diagnosis.pixel_share:
            share = shares[split].get(name, 0.0) if split in shares else None
            row.append(Text("n/a", style="dim") if share is None else _bar(share, largest, mark))
        table.add_row(*row)
    return table


def _bar(share: float, largest: float, mark: str) -> Text:
    length = ceil(share / largest * BAR_WIDTH)
    return Text(f"{share:7.2%} {mark * length:{BAR_WIDTH}}", style="" if share else "dim")


def _print_problems(level: str, problems: list[Problem], console: Console) -> None:
    count = f"{len(problems)} {level}{'' if len(problems) == 1 else 's'}"
    console.print(f"\n[{STYLES[level]}]{count}[/]")
    for fix in dict.fromkeys(problem.fix for problem in problems):
        group = [problem for problem in problems if problem.fix == fix]
        for problem in group[:MAX_FILES]:
            place = printable(f"{problem.file}: ") if problem.file else ""
            text = printable(problem.text)
            console.print(Padding(Text.assemble((place, "bold"), text), (0, 0, 0, 2), expand=False))
        if len(group) > MAX_FILES:
            console.print(f"  ... and {len(group) - MAX_FILES} more", style="dim")
        console.print(Padding(Text(f"-> {printable(fix)}", style="green"), (0, 0, 0, 4), expand=False))
