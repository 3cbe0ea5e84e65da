"""The rows of a domain adaptation benchmark: what a labeled source domain adds to a few masks of the target."""

import argparse
from collections.abc import Mapping
from typing import Any

from fewmask.recipe import Recipe, make_recipe, parse_settings
from fewmask.study.key import run_of
from runs import add_row, results
from table import ROOT

METHODS = ("target_only", "joint", "class_bank", "class_bank_source", "ass", "patch_contrast", "source_only")


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
    study: str, domains: tuple[str, str], settings: Mapping[str, Any], seed: int, args: argparse.Namespace
) -> None:
    """Adds the rows of every method at every number of labels for one seed.

    Args:
        study: the name of the table, of its rows' study, and of the folder of runs.
        domains: the names of the target and of the source.
        settings: the blocks data, source, net and training of the recipes; source is left out if a method uses none.
    """
    table, (target, source) = results(study), domains
    for labels in args.labels:
        for method in args.methods:
            if method == "source_only" and labels != args.labels[0]:
                continue  # its runs see no label of the target
            recipe = domain_recipe(settings, method, labels, seed, args)
            run = run_of(recipe, study, target, source, args.variant)
            if method == "source_only":
                run = run._replace(labels="0")
            parts = (method, args.variant, run.labels, seed, args.steps, run.resize)
            folder = ROOT / "runs" / study / "-".join(str(part) for part in parts if part != "")
            add_row(table, run, method, recipe, folder, ("test",))


def domain_recipe(settings: Mapping[str, Any], method: str, labels: int, seed: int, args: argparse.Namespace) -> Recipe:
    """The recipe of a row; `class_bank` trains without the source, and `class_bank_source` with it."""
    blocks = {
        **settings,
        "data": settings["data"] | {"labels": labels, "split_seed": seed},
        "source": None if method in ("target_only", "class_bank") else settings["source"],
        "method": method.removesuffix("_source"),
        "training": settings["training"] | {"steps": args.steps, "seed": seed},
    }
    return make_recipe(blocks, parse_settings(args.set))
