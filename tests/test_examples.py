"""The notebooks in examples/ run from the first cell to the last, and what they show can be shown."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def cells_of(notebook: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run_cells(cells: list[str]) -> list[Any]:
    """Runs the cells in one namespace; the value of the last expression of each cell that ends in one."""
    namespace: dict[str, Any] = {}
    shown = []
    for cell in cells:
        tree = ast.parse(cell)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "notebook", "exec"), namespace)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), "notebook", "eval"), namespace))
    return [value for value in shown if value is not None]


@pytest.mark.slow
def test_the_notebook_trains_predicts_and_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = cells_of(EXAMPLES / "start.ipynb")
    cells = [cell.replace('"scenes", 160', '"scenes", 2').replace("train=60", "train=12") for cell in cells]
    prediction, overlay, per_class = run_cells(cells)
    assert "data:image/png;base64," in prediction._repr_html_()
    assert overlay.size == (120, 80)
    assert set(per_class) >= {"sky", "road"}
    assert (tmp_path / "fewmask-example" / "0000.png").exists()


def test_notebooks_are_saved_without_output() -> None:
    for notebook in EXAMPLES.glob("*.ipynb"):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
