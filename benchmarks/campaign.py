"""A campaign of faults: damaged files, killed runs, full disks, lost folders and ranks; its counts go to campaign.csv.

    python benchmarks/campaign.py --mutations 10000 --kills 100
    python benchmarks/campaign.py --mutations 10000 --kills 100 --only recipes  # faults with this in their name

Every case must succeed or end in one line. A traceback, a crash, more than 20 seconds of work or more than 3 GiB is
printed and ends the campaign with exit code 1. tests/test_campaign.py runs a short form.
"""

import argparse
import csv
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from faults import mutations, ranks, runs
from faults.trial import Report, judge

FILE = Path(__file__).with_suffix(".csv")
COLUMNS = ("fault", "cases", "succeeded", "one_line", "wrong", "seed", "command", "date")
SHARES = {"pictures": 0.45, "recipes, classes and lists": 0.45, "runs that go on": 0.1}
SETTINGS = {"class_bank": {"quality_filter": False, "bank_slots": 16}, "dmt": {"num_phases": 1}}
METHODS = ("supervised", *SETTINGS)


class Row(NamedTuple):
    """The counts of one kind of fault."""

    fault: str
    report: Report


def campaign(
    folder: Path,
    num_mutations: int,
    num_kills: int,
    seed: int,
    every: int = 1,
    only: str = "",
    methods: Sequence[str] = METHODS,
) -> Iterator[Row]:
    """Tries every kind of fault.

    Args:
        folder: an empty folder for the files of the campaign.
        num_mutations: the number of changed files.
        num_kills: the number of SIGKILLs at random moments of runs.
        seed: the changes and the moments follow from it.
        every: of the writes that meet a full disk or a lost folder, only every so manieth one.
        only: the faults whose names hold this text; others are left out.
        methods: the methods whose runs are killed.
    """
    recipe = runs.make_recipe_file(folder)
    unbroken, stopped = folder / "unbroken", runs.stopped_run(recipe, folder / "stopped")
    runs.go_on(recipe, unbroken)
    cases = (
        mutations.images(folder, seed),
        mutations.texts(folder, seed),
        mutations.runs(stopped, folder / "mutated", seed),
    )
    for (fault, share), case in zip(SHARES.items(), cases, strict=True):
        if only in fault:
            yield Row(f"changed files: {fault}", judge(case, 0, max(1, round(share * num_mutations))))
    writes = range(0, runs.number_of_writes(recipe, folder), every)
    for fault, case in (
        ("a full disk at a write", runs.disk_is_full(recipe, unbroken, folder)),
        ("a run folder deleted at a write", runs.folder_vanishes(recipe, "run", folder)),
        ("a data folder deleted at a write", runs.folder_vanishes(recipe, "data", folder)),
    ):
        if only in fault:
            yield Row(fault, judge(lambda number, case=case: case(writes[number]), 0, len(writes)))
    limits = range(120, 10, -4 * every)
    files = runs.few_files(recipe, folder)
    if only in "few open files":
        yield Row("few open files", judge(lambda number: files(limits[number]), 0, len(limits)))
    if only in "lost ranks" and every == 1:  # tests/training/test_two_ranks.py is the short form
        own = folder / "ranks"
        own.mkdir()
        lost, wrong = ranks.lost_ranks(runs.make_recipe_file(own), own, max(1, num_kills // 5), seed)
        yield Row("lost ranks, whose runs end with the same bits", Report(Counter({"succeeded": lost}), wrong))
    for number, name in enumerate(methods if only in "SIGKILL" else ()):
        own = folder / name
        own.mkdir()
        recipe = runs.make_recipe_file(own, {"name": name} | SETTINGS.get(name, {}))
        runs.go_on(recipe, own / "unbroken")
        wanted = max(1, num_kills // len(methods) + 1)
        killed, count, wrong = runs.kills(recipe, own / "unbroken", own, wanted, seed + number)
        report = Report(Counter({"succeeded": killed if not wrong else 0}), wrong)
        yield Row(f"SIGKILL at any moment, {name}, {count} runs that end with the same bits", report)


def main() -> int:
    """Runs the campaign and writes its counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="of the writes and limits, only every so manieth one")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="whose runs are killed")
    parser.add_argument("--only", default="", help="faults with this text in their name; other rows of the file stay")
    args = parser.parse_args()
    torch.set_num_threads(1)  # OpenMP waits for ever in forked processes, which lack its threads
    told = f"python benchmarks/campaign.py {shlex.join(sys.argv[1:])}"
    rows = {row[0]: row for row in csv.reader(FILE.read_text().splitlines()[1:])} if args.only else {}
    choices: dict[str, Any] = {
        "num_mutations": args.mutations,
        "num_kills": args.kills,
        "seed": args.seed,
        "every": args.every,
    }
    choices |= {"only": args.only, "methods": args.methods}
    is_good = True
    with tempfile.TemporaryDirectory() as folder:
        for fault, report in campaign(Path(folder), **choices):
            ends, cases = report.counts, report.counts.total()
            values = (fault, cases, ends["succeeded"], ends["one line"], len(report.wrong), args.seed, told)
            rows[fault] = [*map(str, values), datetime.now(UTC).date().isoformat()]
            print(*values[:5], *report.wrong[:50], sep="\n  ", flush=True)
            is_good &= report.is_good
            with FILE.open("w", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows.values()])
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
