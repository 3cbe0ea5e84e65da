"""What happens before a stage: once for each, with all images that have no mask, and again in no resumed stage."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fewmask.data.pool import Pool
from fewmask.methods import CBC, DMT, Method, Now, Stage, Step
from fewmask.models.build import NetConfig, build_net
from fewmask.recipe import Recipe, read_recipe
from fewmask.run.checkpoint import state_bytes
from fewmask.training.start import resume_run, train_recipe
from toy import HEIGHT, NET, WIDTH, write_recipe

CBC_BLOCK = {"name": "cbc", "num_rounds": 2, "first_share": 0.4, "sample_every": 1}
DMT_BLOCK = {"name": "dmt", "num_phases": 1, "first_share": 0.4, "sample_every": 1}


def recipe_of(folder: Path, dataset: Path, method: dict[str, Any]) -> Recipe:
    return read_recipe(write_recipe(folder / "recipe.yaml", dataset, method, steps=10, checkpoint_every=1))


def note_begins(kind: type[Method], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    begun: list[str] = []
    original = kind.begin

    def begin(self: Method, stage: Stage, pool: Pool) -> None:
        begun.append(stage.name)
        original(self, stage, pool)

    monkeypatch.setattr(kind, "begin", begin)
    return begun


def test_every_stage_begins_once_without_gradient_in_eval_mode_with_the_whole_pool(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def begin(self: Method, stage: Stage, pool: Pool) -> None:
        modes = torch.is_grad_enabled(), any(module.training for module in self.student.modules())
        seen.append((stage.name, *modes, [tuple(images.shape) for images, _ in pool]))
        for images, valid in pool:  # a second time
            assert images.dtype == torch.float32
            assert 0 <= images.min() < 0.3 < images.max() <= 1
            assert valid.all()

    monkeypatch.setattr(CBC, "begin", begin)
    train_recipe(recipe_of(tmp_path, dataset, CBC_BLOCK), tmp_path / "run")
    pool = [(1, 3, HEIGHT, WIDTH)] * 6
    assert seen == [(name, False, False, pool) for name in ("train", "round1", "round2")]


@pytest.mark.parametrize(
    ("kind", "block", "stage", "step", "begun_again"),
    [
        (CBC, CBC_BLOCK, "round1", 1, ["round2"]),
        (CBC, CBC_BLOCK, "round2", 0, ["round2"]),  # the checkpoint of a stage's start comes before its begin
        (DMT, DMT_BLOCK, "phase1", 1, []),
    ],
)
def test_run_that_broke_off_in_a_round_or_between_rounds_ends_as_the_unbroken_one(
    kind: type[Method],
    block: dict[str, Any],
    stage: str,
    step: int,
    begun_again: list[str],
    tmp_path: Path,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = tmp_path / "other.safetensors"
    if kind is DMT:
        weights.write_bytes(state_bytes(build_net(NetConfig(**NET), 4)))
        block = block | {"other_weights": str(weights)}
    recipe = recipe_of(tmp_path, dataset, block)
    unbroken = train_recipe(recipe, tmp_path / "unbroken")
    begun = note_begins(kind, monkeypatch)
    original = kind.step

    def broken_step(self: Method, batch: Any, now: Now) -> Step:
        if (now.stage, now.step) == (stage, step):
            raise KeyboardInterrupt
        return original(self, batch, now)

    with monkeypatch.context() as broken:
        broken.setattr(kind, "step", broken_step)
        with pytest.raises(KeyboardInterrupt):
            train_recipe(recipe, tmp_path / "run")
    assert begun[-1] == stage
    begun.clear()
    weights.unlink(missing_ok=True)  # the checkpoint holds the second network
    run = resume_run(tmp_path / "run")
    assert begun == begun_again
    assert run.model_file("student").read_bytes() == unbroken.model_file("student").read_bytes()
