"""Captured steps on a CPU: a stand-in for the CUDA graph runs the recorded step anew at every replay."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from contract import build, own_file, record, toy_batch, why_not_static
from fewmask.data.batch import Batch
from fewmask.methods import ClassBankMethod, Method, Now, Step, Supervised
from fewmask.recipe import TrainingConfig
from fewmask.training.capture import WARM_UP, CapturedSteps, can_capture
from fewmask.training.optimizers import build_optimizers, set_rates
from fewmask.training.trainer import Trainer

CPU = torch.device("cpu")


class Rerun:
    """Records a step by taking it, which changes what a CUDA graph would leave alone, and replays by taking it again."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.dropped, self.replays = fails, False, 0

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        yield

    def record(self, step: Callable[[], Step]) -> Step:
        self._step, self._result = step, step()
        torch.rand(3)  # the generator moves on
        if self.fails:
            raise RuntimeError(self.fails)
        return self._result

    def replay(self) -> None:
        self.replays += 1
        new = self._step()
        for old, found in ((self._result.losses, new.losses), (self._result.watch, new.watch)):
            for name, value in old.items():
                value.copy_(found[name])

    def drop(self) -> None:
        self.dropped = True


def trainer_of(method: Method, scaler: GradScaler | None = None, **training: Any) -> Trainer:
    config = TrainingConfig(**training)
    optimizers = build_optimizers(method.parameter_groups(), config, captured_on=CPU)
    return Trainer(method, optimizers, config, scaler=scaler)


def run(trainer: Trainer, take: Callable[..., Step], steps: range, total: int = 16) -> list[dict[str, float]]:
    """Takes steps as the loop does; returns their losses."""
    losses = []
    for step in steps:
        torch.manual_seed(step)
        set_rates(trainer.optimizers, 1 - step / total)
        batches = [toy_batch(type(trainer.method), 10 * step + each) for each in range(trainer.training.accumulate)]
        found = take(trainer.method.now(step, total), *batches)
        losses.append({name: loss.item() for name, loss in found.losses.items()})
    return losses


def state(trainer: Trainer) -> list[Tensor]:
    """All weights, buffers and states of optimizers."""
    momenta = [each for optimizer in trainer.optimizers for of in optimizer.state.values() for each in of.values()]
    return [tensor.clone() for tensor in (*trainer.method.state_dict().values(), *momenta)]


def assert_same(one: Trainer, other: Trainer) -> None:
    for first, second in zip(state(one), state(other), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


SETTINGS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "sgd": {"optimizer": "sgd", "accumulate": 2, "clip_norm": 0.1},
    "scaled": {"clip_norm": 1.0},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_captured_steps_are_those_of_the_trainer_in_every_phase(name: str, tiny_net: Any) -> None:
    one, other = (
        trainer_of(build(ClassBankMethod, tiny_net), GradScaler("cpu") if name == "scaled" else None, **SETTINGS[name])
        for _ in range(2)
    )
    graphs, lines = [], []

    def new_graph() -> Rerun:
        graphs.append(Rerun())
        return graphs[-1]

    captured = CapturedSteps(other, lines.append, new_graph, rehearse=name != "scaled")  # the scaler's CPU form waits
    assert run(one, one.step, range(16)) == run(other, captured, range(16))
    assert_same(one, other)
    assert lines == []
    begins = [0, *other.method.phases("train", 16), 16]
    assert [graph.replays for graph in graphs] == [
        max(0, end - begin - WARM_UP) for begin, end in zip(begins, begins[1:], strict=False)
    ]
    assert [graph.dropped for graph in graphs] == [True, True, False]  # no phase keeps the memory of another


def test_a_recording_that_fails_is_one_line_and_changes_nothing(tiny_net: Any) -> None:
    trained = [trainer_of(build(ClassBankMethod, tiny_net, warmup_share=0.0)) for _ in range(2)]
    for trainer in trained:
        run(trainer, trainer.step, range(2))  # momenta and bank hold something
    lines: list[str] = []
    full = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which"
    captured = CapturedSteps(trained[1], lines.append, lambda: Rerun(fails=full))
    assert run(trained[0], trained[0].step, range(2, 9)) == run(trained[1], captured, range(2, 9))
    assert_same(*trained)
    assert lines == [
        "Steps of stage train, phase 2, run without capture: CUDA out of memory. Tried to allocate 2.00 GiB."
    ]


class Branching(Supervised):
    """Asks nobody, but does what its data or the number of the step say."""

    trick = ""

    def step(self, batch: Batch, now: Now) -> Step:
        losses, watch = super().step(batch, now)
        if self.trick == "number":
            losses["sup"] = losses["sup"] * (1 - now.step / now.steps)
        elif self.trick == "branch" and now.step % 2:
            losses["sup"] = losses["sup"].square()
        elif self.trick == "value" and losses["sup"] > 100:
            losses["sup"] = losses["sup"].clamp(max=100)
        elif self.trick == "buffer":
            self.frequency.labeled = self.frequency.labeled + 1
        return Step(losses, watch)


@pytest.mark.parametrize(
    ("trick", "line"),
    [
        ("number", r"the step changes at test_capture.py:\d+ \(aten.mul.Tensor\): first 0.\d+, then 0.\d+"),
        ("branch", r"the step branches on its data or its number at test_capture.py:\d+: .*aten.pow"),
        ("value", r"the step waits for the device at test_capture.py:\d+ \(aten._local_scalar_dense.default\)"),
        ("buffer", r"the step puts another tensor in the place of frequency.labeled, instead of changing it"),
    ],
)
def test_a_step_that_is_not_static_runs_without_capture_and_a_line_says_where(
    trick: str, line: str, tiny_net: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Branching, "trick", trick)
    one, other = (trainer_of(build(Branching, tiny_net)) for _ in range(2))
    lines: list[str] = []
    captured = CapturedSteps(other, lines.append, Rerun)
    assert run(one, one.step, range(7)) == run(other, captured, range(7))
    assert_same(one, other)
    assert len(lines) == 1
    assert lines[0].startswith("Steps of stage train, phase 0, run without capture: ")
    assert pytest.raises(AssertionError, match=line) if False else __import__("re").search(line, lines[0]), lines[0]


def test_the_test_of_static_steps_tells_the_author_of_a_method(tiny_net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Branching, "trick", "value")
    batches = [toy_batch(Branching, seed) for seed in range(3)]
    fault = why_not_static(build(Branching, tiny_net), batches)
    assert fault is not None
    assert fault.startswith("supervised, stage train, phase 0: the step waits for the device at test_capture.py:")


def test_shapes_that_follow_the_data_are_told(tiny_net: Any) -> None:
    method = build(Supervised, tiny_net)
    one, other = (record(lambda n=size: torch.zeros(n) + 1, own_file(method)) for size in (2, 3))
    from fewmask.training.static import why_not_static as compare

    assert "first (2,), then (3,)" in (compare(one, other) or "") or "first [2], then [3]" in (compare(one, other) or "")


def test_steps_are_captured_on_one_gpu_unless_the_recipe_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    assert not can_capture(TrainingConfig(), fabric)
    for device, ranks, wanted in (("cuda", 1, True), ("cuda", 2, False), ("mps", 1, False)):
        monkeypatch.setattr(Fabric, "device", torch.device(device))
        monkeypatch.setattr(Fabric, "world_size", ranks)
        assert can_capture(TrainingConfig(), fabric) == wanted
        assert not can_capture(TrainingConfig(capture=False), fabric)


def test_networks_compile_in_place_and_keep_their_names(tiny_net: Any) -> None:
    from fewmask.training.compiled import compile_networks

    plain, compiled = (build(ClassBankMethod, tiny_net) for _ in range(2))
    compile_networks(compiled, backend="eager")
    assert list(compiled.state_dict()) == list(plain.state_dict())
    batch = toy_batch(ClassBankMethod)
    found = []
    for method in (plain, compiled):
        torch.manual_seed(0)
        found.append(method.step(batch, method.now(9, 10)).losses)
    for name, loss in found[0].items():
        torch.testing.assert_close(found[1][name], loss)
