"""Critics: their loss by hand, and an Adam of their own."""

import math

import pytest
import torch
from torch import nn

from fewmask.methods.parts.adversary import critic_group, telling_apart


def test_the_loss_is_the_mean_of_both_cross_entropies() -> None:
    zeros, ones = torch.tensor([0.0, math.log(3)]), torch.tensor([[math.log(4)]])
    expected = ((math.log(2) + math.log(4)) / 2 + math.log(1.25)) / 2
    assert telling_apart(zeros, ones).item() == pytest.approx(expected)


def test_scores_that_do_not_count_change_nothing() -> None:
    zeros, ones, counted = torch.tensor([0.0, 9.0]), torch.tensor([0.0]), torch.tensor([True, False])
    assert telling_apart(zeros, ones, counted).item() == pytest.approx(math.log(2))
    nothing = torch.tensor([False])
    assert telling_apart(zeros[:1], ones, nothing, nothing) == 0


def test_all_parameters_of_the_critics_learn_at_their_own_rate() -> None:
    critics = nn.Linear(2, 1), nn.Linear(3, 1)
    group = critic_group(0.3, *critics)
    assert len(group.parameters) == 4
    assert group.optimizer is not None
    assert group.optimizer.learning_rate == 0.3
