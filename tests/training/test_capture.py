"""Captured steps on a CPU: a stand-in for the CUDA graph runs the recorded step anew at every replay."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from contract import build, toy_batch, why_not_static
from fewmask.data.batch import Batch
from fewmask.errors import UserError
from fewmask.methods import ClassBankMethod, Method, Now, Step, Supervised
from fewmask.recipe import TrainingConfig
from fewmask.training import static
from fewmask.training.capture import WARM_UP, CapturedSteps, can_capture
from fewmask.training.compiled import compile_networks, compiler_is_there
from fewmask.training.optimizers import build_optimizers, set_rates
from fewmask.training.static import record
from fewmask.training.trainer import Trainer

CPU = torch.device("cpu")


class Rerun:
    """Records a step by taking it, which changes what a CUDA graph leaves alone, and replays by taking it again."""

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


def captured(trainer: Trainer, rehearse: bool = True, fails: str = "") -> tuple[CapturedSteps, list[Rerun], list[str]]:
    """Captured steps of a trainer, with the graphs that they make and the lines that they tell."""
    graphs: list[Rerun] = []
    lines: list[str] = []

    def new_graph() -> Rerun:
        graphs.append(Rerun(fails))
        return graphs[-1]

    return CapturedSteps(trainer, lines.append, new_graph, rehearse), graphs, lines


def test_captured_steps_are_those_of_the_trainer_in_every_phase(tiny_net: Any) -> None:
    one, other = (trainer_of(build(ClassBankMethod, tiny_net, warmup_share=0.5)) for _ in range(2))
    take, graphs, lines = captured(other)
    assert run(one, one.step, range(10), 10) == run(other, take, range(10), 10)
    assert_same(one, other)
    assert lines == []
    bounds = [0, *other.method.phases("train", 10), 10]
    assert [graph.replays for graph in graphs] == [max(0, end - begin - WARM_UP) for begin, end in pairwise(bounds)]
    assert [graph.dropped for graph in graphs] == [True, True, False]  # no phase keeps the memory of another


@pytest.mark.parametrize("scaled", [False, True])
def test_captured_steps_add_up_batches_clip_gradients_and_scale_the_loss(scaled: bool, tiny_net: Any) -> None:
    one, other = (
        trainer_of(
            build(Supervised, tiny_net),
            GradScaler("cpu", init_scale=2.0**10) if scaled else None,
            optimizer="sgd",
            accumulate=2,
            clip_norm=0.1,
        )
        for _ in range(2)
    )
    take, graphs, lines = captured(other, rehearse=not scaled)  # the scaler waits for the device if it is a CPU
    assert run(one, one.step, range(6)) == run(other, take, range(6))
    assert_same(one, other)
    assert (len(graphs), graphs[0].replays, lines) == (1, 3, [])


def test_batches_whose_size_changes_from_step_to_step_are_one_line(tiny_net: Any) -> None:
    trainer = trainer_of(build(Supervised, tiny_net))
    take, _, lines = captured(trainer)
    for step in range(12):
        images = 1 + step % 2 if step < 8 else 2  # as an odd batch of two domains, and then one of one size
        take(trainer.method.now(step, 12), toy_batch(Supervised, num_images=images))
    (line,) = lines
    assert line.startswith("Steps run without capture while the sizes of their batches change. With a source domain, ")
    assert take._recording is not None


def test_a_recording_that_fails_is_one_line_and_changes_nothing(tiny_net: Any) -> None:
    trained = [trainer_of(build(ClassBankMethod, tiny_net, warmup_share=0.0)) for _ in range(2)]
    for trainer in trained:
        run(trainer, trainer.step, range(2))  # momenta and bank hold something
    full = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which"
    take, _, lines = captured(trained[1], fails=full)
    assert run(trained[0], trained[0].step, range(2, 7)) == run(trained[1], take, range(2, 7))
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
    take, _, lines = captured(other)
    assert run(one, one.step, range(5)) == run(other, take, range(5))
    assert_same(one, other)
    assert len(lines) == 1
    assert re.fullmatch(f"Steps of stage train, phase 0, run without capture: {line}.*\\.", lines[0]), lines[0]


def test_the_test_of_static_steps_tells_the_author_of_a_method(tiny_net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Branching, "trick", "value")
    batches = [toy_batch(Branching, seed) for seed in range(3)]
    fault = why_not_static(build(Branching, tiny_net), batches)
    assert fault is not None
    assert fault.startswith("supervised, stage train, phase 0: the step waits for the device at test_capture.py:")


def test_shapes_that_follow_the_data_are_told() -> None:
    one, other = (record(lambda n=size: torch.zeros(n) + 1) for size in (2, 3))
    assert "first (2,), then (3,)" in (static.why_not_static(one, other) or "")


def test_steps_are_captured_on_one_gpu_unless_the_recipe_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    assert not can_capture(TrainingConfig(), fabric)
    for device, ranks, wanted in (("cuda", 1, True), ("cuda", 2, False), ("mps", 1, False)):
        monkeypatch.setattr(Fabric, "device", torch.device(device))
        monkeypatch.setattr(Fabric, "world_size", ranks)
        assert can_capture(TrainingConfig(), fabric) == wanted
        assert not can_capture(TrainingConfig(capture=False), fabric)


def test_networks_compile_in_place_and_keep_their_names(tiny_net: Any) -> None:
    plain, compiled = (build(Supervised, tiny_net) for _ in range(2))
    compile_networks(compiled, backend="eager")
    assert list(compiled.state_dict()) == list(plain.state_dict())
    batch = toy_batch(Supervised)
    found = []
    for method in (plain, compiled):
        torch.manual_seed(0)
        with compiler_is_there():
            found.append(method.step(batch, method.now(9, 10)).losses)
    assert found[0].keys() == found[1].keys()
    for name, loss in found[0].items():
        torch.testing.assert_close(found[1][name], loss)


def test_a_compiler_that_fails_is_one_line(tiny_net: Any) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("no compiler here. More text.")

    method = build(Supervised, tiny_net)
    compile_networks(method, backend=broken)
    with pytest.raises(UserError, match=r"^training.compile: .*Set it to false\.$") as mistake, compiler_is_there():
        method.step(toy_batch(Supervised), method.now(0, 10))
    assert "\n" not in str(mistake.value)
    torch._dynamo.reset()
