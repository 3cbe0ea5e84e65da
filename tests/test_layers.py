"""Nothing above `methods` names a method, and of `models` only the network itself: the rest, a method declares."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fewmask
from fewmask.methods import METHODS

PACKAGE = Path(fewmask.__file__).parent
ABOVE = ("cli", "report", "study", "training", "use", "run", "recipe")
FILES = [path for room in ABOVE for path in sorted((PACKAGE / room).rglob("*.py"))]
NAMES = {method.name for method in METHODS}
CLASSES = {method.__name__ for method in METHODS}
NETWORK = {
    "NetConfig",
    "SegNet",
    "build_net",
    "build_network",
    "weights_from_pip",
    "NOT_ON_DISK",
    "in_eval_mode",
    "on_coarse_grid",
    "Committee",
    "as_one_rank",
    "take_from_first_rank",
    "average_over_ranks",
    "norm_statistics",
}
"""What every run has of `models`: its network, the settings of it, its first weights, and ways to read it."""


def mentions(path: Path) -> Iterator[str]:
    """What a file names that it should not know of."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if text in NAMES:
                yield text
            case ast.ImportFrom(module=str(module), names=names):
                if module.startswith("fewmask.models"):
                    yield from (alias.name for alias in names if alias.name not in NETWORK)
                yield from (alias.name for alias in names if alias.name in CLASSES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_above_the_methods_names_none_of_them_and_none_of_their_parts(path: Path) -> None:
    assert list(mentions(path)) == []


def test_a_mention_is_found(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text("from fewmask.methods import CutMix\nfrom fewmask.models.bank import ClassBank\nx = 'cutmix'\n")
    assert sorted(mentions(file)) == ["ClassBank", "CutMix", "cutmix"]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_one_idea_that_it_states_in_a_sentence_within_300_lines(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert (ast.get_docstring(ast.parse(text)) or "").strip()
