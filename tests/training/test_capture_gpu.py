"""What only a GPU can show of captured steps: the same numbers as one operation at a time, and memory that stays."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from contract import begin, build, toy_batch
from fewmask.data.batch import Batch
from fewmask.methods import METHODS, ClassBankMethod, ClassMix, Now, Step, Supervised
from fewmask.models.build import NetConfig
from fewmask.ops.draw import Purpose, seed_at
from fewmask.recipe import TrainingConfig
from fewmask.training.capture import CapturedSteps
from fewmask.training.compiled import compile_networks, compiler_is_there
from fewmask.training.device import fit_to_device, launch_fabric, loss_scaler
from fewmask.training.optimizers import build_optimizers, set_rates
from fewmask.training.trainer import Trainer, stage_lengths

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

STEPS = 50
AS_MUCH = 30.0
"""A captured run may differ from an eager one by so many times what two eager runs differ by: atomic additions come in
another order in every run, and two runs are few."""

ROUNDING = 0.01
"""The share of the change of the weights that rounding may make where two eager runs happen to be the same. A rate, a
batch, a draw or a statistic that is not renewed changes more than a tenth."""


@pytest.fixture(autouse=True)
def _exact_products() -> Any:
    """Matrix products and convolutions in float32, so that a difference is a fault and not a rounding to TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


class Run:
    """A short training of a method on the GPU, on batches that are functions of the step."""

    def __init__(self, method: Any, capture: bool, **training: Any) -> None:
        plain = {"optimizer": "sgd", "learning_rate": 1e-3, "precision": "32", "device": "cuda", "devices": 1}
        self.method, self.config = method, TrainingConfig(**plain | training)
        fabric = launch_fabric(self.config)
        optimizers = build_optimizers(method.parameter_groups(), self.config, fabric.device)
        fit_to_device(method, fabric)
        self.trainer = Trainer(method, optimizers, self.config, fabric, scaler=loss_scaler(fabric))
        self.lines: list[str] = []
        self.take: Callable[..., Step] = self.trainer.step
        if capture:
            self.take = CapturedSteps(self.trainer, self.lines.append)

    def steps(self, of: Sequence[int] = range(STEPS), total: int = STEPS) -> list[dict[str, float]]:
        """Takes the steps with these numbers, through all stages; returns their losses."""
        losses = []
        stages = self.method.course()
        lengths = stage_lengths([stage.share for stage in stages], total)
        numbered = [
            (stage, step, length) for stage, length in zip(stages, lengths, strict=True) for step in range(length)
        ]
        for number in of:
            stage, step, length = numbered[number]
            device = self.trainer.fabric.device
            if step == 0:
                begin(self.method, stage, toy_batch(type(self.method)).to(device))
                for optimizer in self.trainer.optimizers:
                    optimizer.state.clear()
            batches = [
                toy_batch(type(self.method), 100 * number + each).to(device) for each in range(self.config.accumulate)
            ]
            torch.manual_seed(seed_at(Purpose.STEP, 0, stages.index(stage), step, 0))
            set_rates(self.trainer.optimizers, 1 - step / length)
            found = self.take(self.method.now(step, length, stage.name), *batches)
            losses.append({name: float(loss) for name, loss in found.losses.items()})
        return losses

    def weights(self) -> list[Tensor]:
        """All parameters and buffers that are no counters."""
        return [value.double().clone() for value in self.method.state_dict().values() if value.is_floating_point()]


def change(run: Run, start: list[Tensor]) -> Tensor:
    """How the weights differ from the start, as one vector."""
    return torch.cat([(now - was).flatten() for now, was in zip(run.weights(), start, strict=True)])


def apart(one: Tensor, other: Tensor) -> float:
    """The length of a difference as a share of the length of the first."""
    return float((one - other).norm() / one.norm())


def assert_captured_equals_eager(method: Any, rounding: float = ROUNDING, **settings: Any) -> None:
    runs = [Run(copy.deepcopy(method), capture, **settings) for capture in (False, False, True)]
    start = runs[0].weights()
    losses = [run.steps() for run in runs]
    assert runs[2].lines == []
    for one, other in zip(losses[0][:5], losses[2][:5], strict=True):  # three before and two after the recording
        assert one == pytest.approx(other, rel=0.02, abs=1e-3)
    eager, again, captured = (change(run, start) for run in runs)
    assert eager.isfinite().all()
    assert eager.norm() > 0
    assert apart(eager, captured) <= AS_MUCH * apart(eager, again) + rounding


@pytest.mark.parametrize("method_type", METHODS, ids=lambda method: method.name)
def test_captured_steps_equal_eager_ones_within_rounding(method_type: Any, tiny_net: NetConfig) -> None:
    assert_captured_equals_eager(build(method_type, tiny_net))


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bf16"},
        {"precision": "16"},
        {"optimizer": "adamw", "learning_rate": 1e-4},
        {"accumulate": 2, "clip_norm": 0.1},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_precisions_and_settings_of_the_trainer_are_captured(settings: dict[str, Any], tiny_net: NetConfig) -> None:
    assert_captured_equals_eager(build(ClassBankMethod, tiny_net), rounding=0.05, **settings)


class Drawing(Supervised):
    """Tells what it draws."""

    def step(self, batch: Batch, now: Now) -> Step:
        losses, watch = super().step(batch, now)
        draws = torch.rand(4, device=batch.labeled.images.device)
        return Step(losses, watch | {"draws": draws})


def draws(run: Run) -> list[list[float]]:
    """What six steps draw, of which half are recorded."""
    found = []
    for step in range(6):
        torch.manual_seed(seed_at(Purpose.STEP, 0, 0, step, 0))
        batch = toy_batch(Drawing, step).to(run.trainer.fabric.device)
        found.append(run.take(run.method.now(step, STEPS), batch).watch["draws"].tolist())
    return found


def test_draws_are_those_of_the_eager_step_and_do_not_repeat(tiny_net: NetConfig) -> None:
    method = build(Drawing, tiny_net)
    eager, captured = (draws(Run(copy.deepcopy(method), capture)) for capture in (False, True))
    assert eager == captured
    assert len({tuple(each) for each in captured}) == 6


@pytest.mark.parametrize("method_type", [ClassBankMethod, ClassMix], ids=lambda method: method.name)
def test_a_run_that_resumes_inside_a_phase_ends_as_the_unbroken_one(method_type: Any, tiny_net: NetConfig) -> None:
    method, half = build(method_type, tiny_net), STEPS - 12
    unbroken, again, broken = (Run(copy.deepcopy(method), capture=True) for _ in range(3))
    start = unbroken.weights()
    unbroken.steps()
    again.steps()
    broken.steps(range(half))
    resumed = Run(build(method_type, tiny_net, seed=1), capture=True)
    resumed.method.load_state_dict(broken.method.state_dict())
    for own, optimizer in zip(resumed.trainer.optimizers, broken.trainer.optimizers, strict=True):
        options = [dict(group) for group in own.param_groups]
        own.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for group, option in zip(own.param_groups, options, strict=True):
            group.update(option)
    resumed.steps(range(half, STEPS))
    assert resumed.lines == []
    first, second, third = (change(run, start) for run in (unbroken, again, resumed))
    assert apart(first, third) <= AS_MUCH * apart(first, second) + ROUNDING


def test_memory_does_not_grow_from_phase_to_phase_and_step_to_step(tiny_net: NetConfig) -> None:
    run = Run(build(ClassBankMethod, tiny_net), capture=True)
    assert isinstance(run.take, CapturedSteps)
    run.steps()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        run.steps()  # all phases anew
        torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() <= before + 2**20
    run.take.drop()
    torch.cuda.synchronize()
    reserved = torch.cuda.memory_reserved()
    for _ in range(3):
        run.steps()
        run.take.drop()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= reserved + 2**22


class Asking(Supervised):
    """Asks the device for a value in every step, in a way that only the recording finds if it is not rehearsed."""

    def step(self, batch: Batch, now: Now) -> Step:
        losses, watch = super().step(batch, now)
        if float(losses["sup"].detach()) < 0:
            raise AssertionError
        return Step(losses, watch)


def test_a_recording_that_fails_leaves_everything_in_order(tiny_net: NetConfig) -> None:
    method = build(Asking, tiny_net)
    eager, captured = Run(copy.deepcopy(method), capture=False), Run(copy.deepcopy(method), capture=True)
    captured.take = CapturedSteps(captured.trainer, captured.lines.append, rehearse=False)
    start = eager.weights()
    for run in (eager, captured):
        run.steps()
    (line,) = captured.lines
    assert line.startswith("Steps of stage train, phase 0, run without capture: ")
    assert "captur" in line.removeprefix("Steps of stage train, phase 0, run without capture: ")
    assert "test_capture_gpu.py:" in line
    assert apart(change(eager, start), change(captured, start)) <= 0.01
    torch.cuda.empty_cache()  # would be an error if the allocator thought that a recording is under way
    assert torch.rand(2, device="cuda").isfinite().all()  # and this, if the generator did
    assert_captured_equals_eager(build(Supervised, tiny_net))  # and the next recording works


def test_compiled_networks_are_captured(tiny_net: NetConfig) -> None:
    method = build(Supervised, tiny_net)
    runs = [Run(copy.deepcopy(method), capture) for capture in (False, True)]
    runs[1].take = CapturedSteps(runs[1].trainer, runs[1].lines.append, rehearse=False)
    start = runs[0].weights()
    compile_networks(runs[1].method)
    runs[0].steps(range(12))
    with compiler_is_there():
        runs[1].steps(range(12))
    assert runs[1].lines == []
    assert apart(change(runs[0], start), change(runs[1], start)) <= 0.05
