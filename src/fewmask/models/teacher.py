"""The teacher: an exponential moving average of the student, Eq. 2 of Alonso et al., ICCV 2021.

Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017, https://arxiv.org/abs/1703.01780.
"""

import copy
import math

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """A copy of the student that follows it and never sees a gradient.

    Args:
        student: the module to follow; its state at this moment is copied.
        follow_buffers: also average the floating-point buffers, that is BatchNorm's running statistics. The released
            code of Alonso et al. averages parameters only (docs/differences.md: 15).
        train_mode: keep the teacher in train mode, so that it normalizes with the statistics of its batch, as the
            released code does; eval mode by default.
    """

    def __init__(self, student: nn.Module, follow_buffers: bool = True, train_mode: bool = False) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.follow_buffers = follow_buffers
        self.train_mode = train_mode
        self.train(train_mode)

    def train(self, mode: bool = True) -> "Teacher":
        """Ignores `mode`: whether a teacher normalizes with batch statistics is a property of the method."""
        self.training = mode
        self.network.train(self.train_mode)
        return self

    @torch.no_grad()
    def follow(self, student: nn.Module, momentum: float) -> None:
        """teacher = momentum * teacher + (1 - momentum) * student, in place; momentum in [0, 1]."""
        own: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = list(student.parameters())
        if self.follow_buffers:
            own += [buffer for buffer in self.network.buffers() if buffer.is_floating_point()]
            theirs += [buffer for buffer in student.buffers() if buffer.is_floating_point()]
        torch._foreach_lerp_(own, [tensor.detach() for tensor in theirs], 1 - momentum)


def momentum_at(step: int, steps: int, start: float) -> float:
    """From `start` to 1 along half a cosine, capped by 1 - 1 / (step + 1) so that the first teacher is the student.

    The paper says "from 0.995 to 1"; the shape and a cap (1 - 1 / (10 step + 1)) are the released code's
    (docs/differences.md: 14). The cap here is Tarvainen's: a true average of the first students.
    """
    rising = 1 - (1 - start) * (math.cos(math.pi * step / max(steps, 1)) + 1) / 2
    return min(rising, 1 - 1 / (step + 1))
