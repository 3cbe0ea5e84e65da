"""What every method must hold, for every method there is.

A new method needs a file golden/NAME.json: `make golden` writes the files that are missing. Where a change of losses
is meant, delete the old file first.
"""

import copy
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning_fabric import Fabric
from pydantic import ValidationError
from torch.nn import functional as F
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from contract import (
    SETTLED,
    HostReads,
    build,
    gradients,
    last_steps,
    toy_batch,
    train,
    why_not_static,
    without_labels,
)
from fewmask.methods import METHODS, course
from fewmask.models import bank
from fewmask.models.build import NetConfig
from fewmask.models.frequency import ClassFrequency
from fewmask.models.segnet import SegNet
from fewmask.ops import losses as pixel_losses
from fewmask.ops import self_training
from fewmask.recipe.blocks import make_method_config
from fewmask.shapes import IGNORE
from fewmask.training import device

GOLDEN = Path(__file__).parent / "golden"

UNWATCHED = {"ass", "prototypes"}
"""Methods that give no labels to unlabeled images."""

SAME_EVERYWHERE: dict[str, Any] = {
    "corrmatch": 2,
    "u2pl": 2,
    "ecs": 3,
    "augseg": 4,
    "prevmatch": 4,
    "patch_contrast": 5,
    "cps": 6,
    "label_contrast": 6,
    "s4gan": 6,
    "fixmatch": 7,
    "cac": 8,
    "reco": 9,
}
"""Steps of the golden file that every processor repeats; after them, a difference of 1e-7 in the weights has grown to
1e-3 of the losses (ecs: BatchNorm over two images of one pixel is close to their sign; others: a pixel passes a
threshold or a rank that it missed before). The others do so to the end."""


@pytest.fixture(scope="module", params=METHODS, ids=lambda method: method.name)
def method_type(request: pytest.FixtureRequest) -> Any:
    return request.param


class Course(NamedTuple):
    """A method after ten steps, and what they took it through."""

    method: Any
    losses: list[dict[str, float]]
    errors: list[float]
    """The student's cross-entropy on the labeled images, before and after."""


@pytest.fixture(scope="module")
def ten_steps(method_type: Any, tiny_net: NetConfig) -> Course:
    method, batch = build(method_type, tiny_net), toy_batch(method_type)
    before = error(method, batch)
    losses = list(train(method, batch, 10))
    method.zero_grad()
    return Course(method, losses, [before, error(method, batch)])


def error(method: Any, batch: Any) -> float:
    """The cross-entropy of the student on the labeled images as they are."""
    student = copy.deepcopy(method.student)
    with torch.no_grad():
        return F.cross_entropy(student(batch.labeled.images).logits, batch.labeled.labels, ignore_index=IGNORE).item()


class Taken(NamedTuple):
    """A step, and the gradient that each of its losses gives to each parameter that trains."""

    step: course.Step
    gradients: dict[str, dict[str, torch.Tensor | None]]


@pytest.fixture(scope="module")
def taken(ten_steps: Course, method_type: Any) -> list[Taken]:
    """The last step of every stage, after the ten steps."""
    method, batch = copy.deepcopy(ten_steps.method), toy_batch(method_type)
    steps = [method.step(batch, now) for now in last_steps(method)]
    return [Taken(step, {name: gradients(method, loss) for name, loss in step.losses.items()}) for step in steps]


@pytest.fixture
def trained(ten_steps: Course) -> Any:
    """The method past all that it does only at first. Tests share it, and only look at it."""
    return ten_steps.method


@pytest.fixture
def method(trained: Any) -> Any:
    """A copy of it for one test."""
    return copy.deepcopy(trained)


@pytest.fixture
def batch(method_type: Any) -> Any:
    return toy_batch(method_type)


def teachers(method: Any) -> Any:
    """The networks that can be scored and do not learn."""
    networks = method.networks().values()
    return [network for network in networks if not any(each.requires_grad for each in network.parameters())]


def test_names_are_one_of_a_kind_and_that_of_the_config() -> None:
    assert len({method.name for method in METHODS}) == len(METHODS)
    assert all(method.Config(name=method.name).name == method.name for method in METHODS)


def test_a_config_is_frozen_and_refuses_what_it_does_not_know(method_type: Any) -> None:
    config = method_type.Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "other"
    with pytest.raises(ValidationError, match="extra"):
        method_type.Config(weihgt=1.0)


def test_own_settings_are_of_the_labeled_term_and_change_the_defaults(method_type: Any) -> None:
    assert method_type.own.keys() <= {"class_balance", "weak"}
    block = make_method_config({"name": method_type.name, **method_type.own})
    assert all(getattr(block, key) != getattr(method_type.Config(), key) for key in method_type.own)


def test_stages_share_the_run(trained: Any) -> None:
    assert sum(stage.share for stage in trained.stages()) == pytest.approx(1)
    assert len({stage.name for stage in trained.stages()}) == len(trained.stages())


def test_networks_are_those_that_the_settings_name_the_shipped_one_first(trained: Any) -> None:
    networks = trained.networks()
    assert tuple(networks) == trained.needs(trained.config).networks
    assert len({id(network) for network in networks.values()}) == len(networks)
    assert any(network is trained.student for network in networks.values())


def test_a_method_is_compared_with_a_baseline_that_is_one(method_type: Any) -> None:
    names = {other.name: other for other in METHODS}
    if method_type.baseline is None:
        assert not method_type.needs(method_type.Config(name=method_type.name)).unlabeled
    else:
        assert names[method_type.baseline].baseline is None


def test_phases_rise_and_lie_within_the_stage(trained: Any) -> None:
    for stage in trained.stages():
        found = trained.phases(stage.name, 100)
        assert found == sorted(found)
        assert all(0 <= step <= 100 for step in found)


def test_replicated_buffers_and_alarms_name_what_there_is(trained: Any, taken: list[Taken]) -> None:
    buffers = dict(trained.named_buffers())
    assert all(name in buffers for name in trained.replicated_buffers())
    curves = taken[-1].step.watch
    for alarm in trained.alarms():
        assert curves[alarm.curve].shape == (trained.tools.num_classes,)
        assert alarm.low < 1 < alarm.high
        for sentence in (alarm.below, alarm.above):
            assert "car" in sentence.format(name="car", value=2.0)


def test_a_class_that_takes_over_the_pseudo_labels_shows_in_the_curve_of_the_alarm(method: Any, batch: Any) -> None:
    if method.name in UNWATCHED or not method.needs(method.config).unlabeled:
        assert method.alarms() == []
        return
    (alarm,) = method.alarms()
    with torch.no_grad():
        for module in method.modules():
            if isinstance(module, SegNet):
                module.network.segmentation_head[0].bias[1] += 1000
            elif isinstance(module, ClassFrequency):
                module.pseudo.zero_()
    excess = method.step(batch, last_steps(method)[-1]).watch[alarm.curve]
    assert excess.argmax() == 1
    assert excess[1] > 1


def test_losses_are_finite_at_every_step(ten_steps: Course) -> None:
    for losses in ten_steps.losses:
        assert losses
        assert all(map(math.isfinite, losses.values())), losses


def test_what_is_watched_is_finite_and_a_scalar_or_one_value_per_class(trained: Any, taken: list[Taken]) -> None:
    for step, _ in taken:
        for name, value in step.watch.items():
            assert value.isfinite().all(), name
            assert value.shape in ((), (trained.tools.num_classes,)), name
            assert not value.requires_grad, name


def test_every_loss_term_reaches_a_weight_on_its_own(taken: list[Taken]) -> None:
    for _, found in taken:
        for loss, of_parameters in found.items():
            assert any(gradient is not None and gradient.any() for gradient in of_parameters.values()), loss


def test_every_parameter_gets_a_finite_gradient_once_the_method_has_settled(trained: Any, taken: list[Taken]) -> None:
    pairs = [pair for _, found in taken for of_loss in found.values() for pair in of_loss.items()]
    reached = [(name, gradient) for name, gradient in pairs if gradient is not None]
    assert all(gradient.isfinite().all() for _, gradient in reached)
    assert {name for name, _ in reached} == {
        name for name, parameter in trained.named_parameters() if parameter.requires_grad
    }


def test_parameter_groups_hold_what_trains_once_and_nothing_of_the_teacher(trained: Any) -> None:
    grouped = [id(parameter) for group in trained.parameter_groups() for parameter in group.parameters]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in trained.parameters() if parameter.requires_grad}
    for teacher in teachers(trained):
        assert not set(grouped) & {id(parameter) for parameter in teacher.parameters()}


def test_the_teacher_gets_no_gradient(method: Any, batch: Any) -> None:
    sum(method.step(batch, SETTLED).losses.values()).backward()
    assert all(parameter.grad is not None for parameter in method.student.parameters() if parameter.requires_grad)
    for teacher in teachers(method):
        assert all(parameter.grad is None for parameter in teacher.parameters())


def test_an_update_moves_the_teacher_and_never_the_student(method: Any) -> None:
    student = [parameter.clone() for parameter in method.student.parameters()]
    for parameter in method.student.parameters():
        parameter.data += 0.1
    before = [[parameter.clone() for parameter in teacher.parameters()] for teacher in teachers(method)]
    method.after_update(method.now(5, 10))
    assert all(torch.equal(now, was + 0.1) for now, was in zip(method.student.parameters(), student, strict=True))
    for teacher, was in zip(teachers(method), before, strict=True):
        assert any(not torch.equal(*pair) for pair in zip(teacher.parameters(), was, strict=True))


def test_ten_steps_learn_the_labeled_images(ten_steps: Course, method_type: Any) -> None:
    if not method_type.needs(method_type.Config()).num_learners:
        pytest.skip("the method trains no network")
    before, after = ten_steps.errors
    assert after < 0.85 * before


def test_a_step_leaves_its_batch_alone(method: Any, batch: Any) -> None:
    copy = toy_batch(type(method))
    method.step(batch, SETTLED)
    for part, copied in zip(batch[:2], copy[:2], strict=True):
        assert part is copied is None or all(torch.equal(*pair) for pair in zip(part, copied, strict=True))


def test_a_state_dict_carries_everything_on(method: Any, method_type: Any, tiny_net: NetConfig, batch: Any) -> None:
    other = build(method_type, tiny_net, seed=1)
    other.load_state_dict(method.state_dict())
    found = []
    for each in (method, other):
        torch.manual_seed(5)
        found.append(each.step(batch, SETTLED).losses)
        each.after_update(SETTLED)
    assert found[0] == found[1]
    assert all(
        torch.equal(*pair) for pair in zip(method.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_no_tensor_is_kept_under_two_names(trained: Any) -> None:
    tensors = trained.state_dict(keep_vars=True)
    assert len({id(tensor) for tensor in tensors.values()}) == len(tensors)


def test_the_first_ten_losses_equal_the_golden_file(
    method_type: Any, ten_steps: Course, request: pytest.FixtureRequest
) -> None:
    losses = ten_steps.losses
    file = GOLDEN / f"{method_type.name}.json"
    if request.config.getoption("--write-golden") and not file.exists():
        rounded = [{name: float(f"{loss:.6g}") for name, loss in step.items()} for step in losses]
        record = {"settings": method_type.toy, "losses": rounded}
        file.write_text(json.dumps(record, indent=1) + "\n")
    golden = json.loads(file.read_text())
    assert golden["settings"] == method_type.toy
    assert len(losses) == len(golden["losses"])
    steps = SAME_EVERYWHERE.get(method_type.name, len(losses))
    for step, (found, expected) in enumerate(zip(losses[:steps], golden["losses"], strict=False)):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-6), f"step {step}"


@pytest.mark.slow
def test_classes_without_any_label_do_not_stop_the_others_from_learning(
    method_type: Any, tiny_net: NetConfig, batch: Any
) -> None:
    labels = batch.labeled.labels
    batch = batch._replace(
        labeled=batch.labeled._replace(labels=labels.masked_fill((labels > 1) & (labels != IGNORE), 0))
    )
    method = build(method_type, tiny_net)
    for losses in train(method, batch, 6):
        assert all(map(math.isfinite, losses.values())), losses
    assert all(tensor.isfinite().all() for tensor in method.state_dict().values())


def test_images_without_any_label_or_valid_pixel_give_finite_losses_and_gradients(method: Any, batch: Any) -> None:
    for now in last_steps(method):
        losses = method.step(without_labels(batch), now).losses
        assert all(loss.isfinite() for loss in losses.values())
        found = gradients(method, sum(losses.values()))
        assert all(gradient.isfinite().all() for gradient in found.values() if gradient is not None)


@pytest.mark.slow
def test_bfloat16_autocast_gives_nearly_the_same_losses_in_float32(method: Any, batch: Any) -> None:
    for now in last_steps(method):
        found = []
        for precision in (torch.float32, torch.bfloat16):
            torch.manual_seed(5)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                found.append(method.step(batch, now).losses)
        exact, rounded = found
        assert all(loss.dtype == torch.float32 for loss in rounded.values())
        assert {name: loss.item() for name, loss in rounded.items()} == pytest.approx(
            {name: loss.item() for name, loss in exact.items()}, rel=0.1, abs=0.01
        )
        sum(rounded.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters() if parameter.requires_grad)


@pytest.mark.slow
def test_the_steps_of_a_phase_are_static_and_never_wait_for_the_device(method: Any, method_type: Any) -> None:
    batches = [toy_batch(method_type, seed) for seed in (0, 1, 2)]
    assert why_not_static(method, [*batches[:2], without_labels(batches[2])]) is None


class Float64Found(TorchDispatchMode):
    """Notes what makes a tensor of float64, which Apple's mps lacks."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if any(isinstance(each, torch.Tensor) and each.dtype == torch.float64 for each in pytree.tree_leaves(made)):
            self.found.append(str(func))
        return made


def test_a_step_makes_no_float64_where_the_device_has_none(
    method: Any, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (bank, course, device, pixel_losses, self_training):
        monkeypatch.setattr(module, "exact_dtype", lambda _: torch.float32)
    device.fit_to_device(method, Fabric(accelerator="cpu", devices=1))
    with Float64Found() as mode:
        for now in last_steps(method):
            method.step(batch, now)
            method.after_update(now)
    assert mode.found == []


def test_waiting_for_the_device_is_noticed() -> None:
    values = torch.arange(4)
    with HostReads() as reads:
        _ = values[values.argmax()], values[values > 1], values.tolist(), bool(values.any())
        _ = F.grouped_mm(torch.ones(4, 4), torch.ones(1, 4, 4), offs=torch.tensor([4], dtype=torch.int32))
    assert len(reads.found) == 6
