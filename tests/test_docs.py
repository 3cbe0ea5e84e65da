"""What the docs say of the methods is true: generated tables are fresh, and the method that they build works."""

import math
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from contract import HostReads, build, gradients, last_steps, settled, toy_batch, train
from fewmask.methods import METHODS, Method

ROOT = Path(__file__).parents[1]


def test_generated_tables_are_fresh() -> None:
    tables = runpy.run_path(str(ROOT / "docs" / "tables.py"))
    assert tables["stale"]() == {}, "run `make tables`"


def test_a_stale_table_is_noticed() -> None:
    tables = runpy.run_path(str(ROOT / "docs" / "tables.py"))
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    changed = page.replace(f"| {METHODS[1].paper} |", "| another |")
    assert tables["filled"](changed) == tables["filled"](page)
    assert tables["filled"](changed) != changed


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> type[Method]:
    """The method of docs/add-a-method.md, from its text."""
    page = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    file = tmp_path_factory.mktemp("method") / "pseudo_label.py"
    file.write_text(text)
    kinds = [value for value in runpy.run_path(str(file), run_name="pseudo_label").values() if isinstance(value, type)]
    (kind,) = (kind for kind in kinds if issubclass(kind, Method) and kind.__module__ == "pseudo_label")
    return kind


def test_the_documented_method_is_a_new_one_that_names_itself_once(documented: Any) -> None:
    assert documented.name == documented.Config().name == "pseudo_label"
    assert documented.name not in {method.name for method in METHODS}
    assert documented.baseline == "supervised"


def test_the_documented_method_learns_from_unlabeled_images_after_its_start(documented: Any, tiny_net: Any) -> None:
    losses = list(train(build(documented, tiny_net), toy_batch(documented), 10))
    assert [set(step) for step in losses] == [{"sup"}] * 2 + [{"sup", "pseudo"}] * 8
    assert all(math.isfinite(value) for step in losses for value in step.values())


def test_every_term_of_the_documented_method_reaches_a_weight(documented: Any, tiny_net: Any) -> None:
    batch = toy_batch(documented)
    method = settled(build(documented, tiny_net), batch)
    for now in last_steps(method):
        for name, loss in method.step(batch, now).losses.items():
            assert any(found is not None and found.any() for found in gradients(method, loss).values()), name


def test_a_collapse_of_the_documented_methods_pseudo_labels_raises_its_alarm(documented: Any, tiny_net: Any) -> None:
    batch = toy_batch(documented)
    method = settled(build(documented, tiny_net), batch)
    (alarm,) = method.alarms()
    method.frequency.pseudo.zero_()
    with torch.no_grad():
        method.net.network.segmentation_head[0].bias[1] += 1000
    assert method.step(batch, last_steps(method)[-1]).watch[alarm.curve].argmax() == 1


def test_a_step_of_the_documented_method_never_waits_for_the_device(documented: Any, tiny_net: Any) -> None:
    batch = toy_batch(documented)
    method = settled(build(documented, tiny_net), batch)
    with HostReads() as reads:
        for now in last_steps(method):
            method.step(batch, now)
            method.after_update(now)
    assert reads.found == []
    assert torch.is_grad_enabled()
