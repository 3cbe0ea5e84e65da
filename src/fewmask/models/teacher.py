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
    def follow(self, student: nn.Module, momentum: float | Tensor) -> None:
        """teacher = momentum * teacher + (1 - momentum) * student, in place.

        Args:
            student: the module that was copied.
            momentum: in [0, 1]; a tensor without dimensions on the device if it changes from step to step.
        """
        own: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = list(student.parameters())
        if self.follow_buffers:
            own += [buffer for buffer in self.network.buffers() if buffer.is_floating_point()]
            theirs += [buffer for buffer in student.buffers() if buffer.is_floating_point()]
        theirs = [tensor.detach() for tensor in theirs]
        if not isinstance(momentum, Tensor):
            torch._foreach_lerp_(own, theirs, 1 - momentum)
        elif momentum.device.type == "cpu":
            weight = (1 - momentum).to(own[0])
            torch._foreach_lerp_(own, theirs, [weight] * len(own))
        else:  # on a GPU a lerp with a tensor as weight would be one launch per parameter
            torch._foreach_mul_(own, momentum.to(own[0]))
            torch._foreach_add_(own, torch._foreach_mul(theirs, (1 - momentum).to(own[0])))


def average_momentum(progress: Tensor, steps: int) -> Tensor:
    """1 - 1 / (step + 1): with this momentum the teacher is the true average of all students so far.

    Args:
        progress: step / steps, a tensor without dimensions.
        steps: number of steps of the stage.
    """
    return 1 - 1 / ((progress * steps).round() + 1)


def cosine_momentum(progress: Tensor, steps: int, start: float) -> Tensor:
    """Momentum from `start` to 1 along half a cosine, at most `average_momentum`; so the first teacher is the student.

    The paper says "from 0.995 to 1". The released code has this shape and the cap 1 - 1 / (10 step + 1)
    (docs/differences.md: 14); the cap here is Tarvainen's.

    Args:
        progress: step / steps, a tensor without dimensions.
        steps: number of steps of the stage.
        start: the momentum at the start, in [0, 1).
    """
    rising = 1 - (1 - start) * ((progress * math.pi).cos() + 1) / 2
    return torch.minimum(rising, average_momentum(progress, steps))
