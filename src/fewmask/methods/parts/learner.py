"""A network with the heads that learn beside it, as one module; student and teacher of a contrast are two learners."""

from typing import Generic, TypeVar

from torch import nn

from fewmask.models.segnet import SegNet

Heads = TypeVar("Heads", bound=nn.Module)


class Learner(nn.Module, Generic[Heads]):
    """Modules that learn together, and that a teacher averages together.

    Attributes:
        net: gives features and logits.
        heads: what a method puts on top of the features.
    """

    net: SegNet
    heads: Heads

    def __init__(self, net: SegNet, heads: Heads) -> None:
        super().__init__()
        self.net, self.heads = net, heads
