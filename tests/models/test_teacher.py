"""The teacher: an exact average, in the mode its method chose, out of reach of gradients."""

import copy

import pytest
import torch
from torch import Tensor, nn

from fewmask.models.teacher import Teacher, cosine_momentum


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))


def moved(module: nn.Module) -> nn.Module:
    """A copy with other parameters and other statistics."""
    other = copy.deepcopy(module)
    for tensor in (*other.parameters(), *other.buffers()):
        tensor.data += 1 if tensor.dtype == torch.int64 else torch.randn_like(tensor).abs()
    return other


def assert_average(found: Tensor, before: Tensor, student: Tensor, momentum: float) -> None:
    torch.testing.assert_close(found, momentum * before + (1 - momentum) * student)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.99, 1.0])
def test_follow_averages_parameters_and_float_buffers_in_place(momentum: float) -> None:
    teacher = Teacher(network())
    before, student = copy.deepcopy(teacher.network), moved(teacher.network)
    places = [tensor.data_ptr() for tensor in teacher.state_dict().values()]
    teacher.follow(student, momentum)
    for name, found in teacher.network.state_dict().items():
        if found.is_floating_point():
            assert_average(found, before.state_dict()[name], student.state_dict()[name], momentum)
    assert [tensor.data_ptr() for tensor in teacher.state_dict().values()] == places


def test_without_buffers_only_parameters_follow() -> None:
    teacher = Teacher(network(), follow_buffers=False)
    before, student = copy.deepcopy(teacher.network), moved(teacher.network)
    teacher.follow(student, 0.5)
    for name, found in teacher.network.named_parameters():
        assert_average(found, before.get_parameter(name), student.get_parameter(name), 0.5)
    for name, buffer in teacher.network.named_buffers():
        assert torch.equal(buffer, before.get_buffer(name))


def test_the_teacher_starts_as_the_student_and_shares_nothing_with_it() -> None:
    student = moved(network())
    teacher = Teacher(student)
    assert all(torch.equal(*pair) for pair in zip(teacher.parameters(), student.parameters(), strict=True))
    assert not {p.data_ptr() for p in teacher.parameters()} & {p.data_ptr() for p in student.parameters()}


@pytest.mark.parametrize("train_mode", [False, True])
def test_the_mode_is_the_methods_whatever_train_and_eval_say(train_mode: bool) -> None:
    teacher = Teacher(network().train(not train_mode), train_mode=train_mode)
    parent = nn.Sequential(teacher)
    for change in (parent.train, parent.eval, parent.train):
        assert all(module.training == train_mode for module in teacher.network.modules())
        change()
    assert all(module.training == train_mode for module in teacher.network.modules())


def test_the_teacher_gets_no_gradient() -> None:
    teacher = Teacher(network())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher.network(torch.randn(3, 4)).requires_grad
    student = network()
    teacher.follow(student, 0.5)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())


def share(step: int, steps: int) -> torch.Tensor:
    return torch.tensor(step / steps, dtype=torch.float64)


def test_a_momentum_in_a_tensor_gives_the_same_teacher_as_a_number() -> None:
    start = network()
    teachers, student = [Teacher(start), Teacher(start)], moved(start)
    teachers[0].follow(student, 0.3)
    teachers[1].follow(student, torch.tensor(0.3, dtype=torch.float64))
    found, expected = (teacher.network.state_dict() for teacher in teachers)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_momentum_starts_at_zero_rises_and_ends_at_one() -> None:
    steps = 1000
    momenta = [cosine_momentum(share(step, steps), steps, 0.98).item() for step in range(steps + 1)]
    assert momenta[0] == 0
    assert momenta == sorted(momenta)
    assert momenta[-1] == pytest.approx(1, abs=2 / steps)
    assert momenta[500] == pytest.approx(0.99, abs=1e-3)  # halfway along the cosine


def test_the_first_teachers_are_the_plain_mean_of_the_students() -> None:
    teacher, students = Teacher(nn.Linear(2, 2)), [nn.Linear(2, 2) for _ in range(5)]
    for step, student in enumerate(students):
        teacher.follow(student, cosine_momentum(share(step, 100_000), 100_000, 0.995))
    mean = torch.stack([student.weight for student in students]).mean(dim=0)
    torch.testing.assert_close(teacher.network.weight, mean)
