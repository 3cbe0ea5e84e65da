"""The rows of a domain adaptation benchmark: what a labeled source domain gives beside a few masks of the target."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewmask.recipe import Recipe, make_recipe, parse_settings
from runs import add_row
from table import Table

METHODS = ("target_only", "joint", "class_bank", "class_bank_source", "ass", "patch_contrast", "source_only")
KEYS = ("method", "variant", "labels", "seed", "steps")


def domain_parser(description: str | None, steps: int) -> argparse.ArgumentParser:
    """The arguments that every such benchmark takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--labels", type=int, nargs="+", default=[3, 6, 12], help="masks of the target")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of labels, weights and batches")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--variant", default="", help="a name for the rows of --set")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    return parser


def add_domain_rows(
    table: Table, settings: Mapping[str, Any], seed: int, args: argparse.Namespace, runs: Path, **more_keys: Any
) -> None:
    """Every method at every number of labels for one seed.

    Args:
        settings: the blocks data, source, net and training of the recipes; of methods without a source, it is left out.
        runs: where run folders go.
        more_keys: what else tells the rows of the table apart.
    """
    for labels in args.labels:
        for method in args.methods:
            if method == "source_only" and labels != args.labels[0]:
                continue  # it sees no label of the target
            count = 0 if method == "source_only" else labels
            key = dict(zip(KEYS, (method, args.variant, count, seed, args.steps), strict=True)) | more_keys
            folder = runs / "-".join(str(part) for part in key.values() if part != "")
            add_row(table, key, domain_recipe(settings, method, labels, seed, args), folder, ("test",))


def domain_recipe(settings: Mapping[str, Any], method: str, labels: int, seed: int, args: argparse.Namespace) -> Recipe:
    """The recipe of a row; `class_bank` is without the source, `class_bank_source` with it."""
    blocks = {
        **settings,
        "data": settings["data"] | {"labels": labels, "split_seed": seed},
        "source": None if method in ("target_only", "class_bank") else settings["source"],
        "method": method.removesuffix("_source"),
        "training": settings["training"] | {"steps": args.steps, "seed": seed},
    }
    return make_recipe(blocks, parse_settings(args.set))
