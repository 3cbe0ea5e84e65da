"""Critics: networks that learn, in the same step, to tell apart what the student is to make alike.

Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014, https://arxiv.org/abs/1406.2661.
"""

from torch import Tensor, nn

from fewmask.methods.groups import Group, OwnAdam
from fewmask.ops.losses import binary_cross_entropy
from fewmask.shapes import Scalar


def critic_group(rate: float, *critics: nn.Module) -> Group:
    """The parameters of critics, with an Adam of their own at this learning rate."""
    parameters = [parameter for critic in critics for parameter in critic.parameters()]
    return Group("critics", parameters, optimizer=OwnAdam(rate))


def telling_apart(
    zeros: Tensor, ones: Tensor, zeros_counted: Tensor | None = None, ones_counted: Tensor | None = None
) -> Scalar:
    """A critic's loss: the mean of its cross-entropies on what it is to call 0 and on what it is to call 1.

    Args:
        zeros: the critic's logits for what it is to call 0, of any shape.
        ones: the critic's logits for what it is to call 1, of any shape.
        zeros_counted: which of `zeros` count, of the same shape; None: all.
        ones_counted: which of `ones` count, of the same shape; None: all.
    """
    return (binary_cross_entropy(zeros, 0.0, zeros_counted) + binary_cross_entropy(ones, 1.0, ones_counted)) / 2
