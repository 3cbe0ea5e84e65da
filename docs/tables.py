"""Writes the tables of the methods into README.md and docs/methods.md, and what `fewmask settings` prints.

    python docs/tables.py            # writes them
    python docs/tables.py --check    # exits with 1 where one is stale, and names it

A table stands between the lines `<!-- table: NAME -->` and `<!-- end -->`. `fewmask settings` prints a JSON file of the
package, because the methods, from which everything here comes, take several seconds to import.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from fewmask.methods import METHODS, Method
from fewmask.recipe import all_blocks

DOCS = Path(__file__).resolve().parent
PAGES = (DOCS.parent / "README.md", DOCS / "methods.md")
SETTINGS = DOCS.parent / "src" / "fewmask" / "cli" / "settings.json"
SOURCE = {"optional": "if there is one", "required": "required", "never": "no", "alone": "it stands in for the target"}


def methods_table() -> str:
    """One line a method: name, what it does, paper."""
    lines = [f"| `{method.name}` | {first_sentence(method)} | {method.paper} |" for method in METHODS]
    return "\n".join(["| `--method` | what it does | paper |", "|---|---|---|", *lines])


def needs_table() -> str:
    """One line a method: what it needs, which network it ships, and its baseline."""
    return "\n".join(
        [
            "| `--method` | unlabeled images | source domain | networks, the shipped one first | compared with |",
            "|---|---|---|---|---|",
            *map(_needs_line, METHODS),
        ]
    )


def _needs_line(method: type[Method]) -> str:
    needs = method.needs(method.Config())
    unlabeled = "yes" if needs.unlabeled else "no"
    if needs.min_unlabeled_batch > 1:
        unlabeled += f", {needs.min_unlabeled_batch} or more in a batch"
    networks, baseline = ", ".join(needs.networks), f"`{method.baseline}`" if method.baseline else ""
    return f"| `{method.name}` | {unlabeled} | {SOURCE[needs.source]} | {networks} | {baseline} |"


def own_table() -> str:
    """One line a method that has settings of its own for the labeled term."""
    lines = [f"| `{method.name}` | {_as_set(method)} |" for method in METHODS if method.own]
    return "\n".join(["| `--method` | as in its paper |", "|---|---|", *lines])


def _as_set(method: type[Method]) -> str:
    """The method's own settings as `--set` takes them."""
    values = {key: yaml.safe_dump(value, default_flow_style=True, width=1000) for key, value in method.own.items()}
    values = {key: text.removesuffix("\n").removesuffix("\n...") for key, text in values.items()}
    return " ".join(f"`--set 'method.{key}={text}'`" for key, text in values.items())


TABLES: dict[str, Callable[[], str]] = {"methods": methods_table, "needs": needs_table, "own": own_table}


def first_sentence(method: type[Method]) -> str:
    """The first sentence of its docstring, without the full stop."""
    text = " ".join((method.__doc__ or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".")


def filled(text: str) -> str:
    """A page with its tables as they should be."""

    def fill(place: re.Match[str]) -> str:
        return f"<!-- table: {place[1]} -->\n{TABLES[place[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def stale() -> dict[Path, str]:
    """The files that are not as they should be, with the text that they should have."""
    texts = {path: filled(_text(path)) for path in PAGES}
    texts[SETTINGS] = json.dumps(all_blocks(), indent=1, ensure_ascii=False) + "\n"
    return {path: text for path, text in texts.items() if _text(path) != text}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main() -> None:
    texts = stale()
    for path, text in texts.items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {'stale' if '--check' in sys.argv else 'written'}")
    sys.exit(1 if texts and "--check" in sys.argv else 0)


if __name__ == "__main__":
    main()
