"""How the parameters of a method learn: groups with their share of the learning rate, or an optimizer of their own."""

from typing import NamedTuple

from torch import nn


class OwnAdam(NamedTuple):
    """An Adam beside the recipe's optimizer, for critics.

    The betas are those of the released code of Hung et al., Adversarial Learning for Semi-Supervised Semantic
    Segmentation, BMVC 2018.
    """

    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.99)


class Group(NamedTuple):
    """Parameters that learn alike.

    Attributes:
        name: `encoder` for parameters that usually come pre-trained, to which `training.encoder_rate` applies; `new`
            for the rest; or a name that says why the parameters are apart.
        parameters: each parameter is in one group of the method.
        rate: the parameters' share of the optimizer's learning rate.
        optimizer: None for the recipe's optimizer.
    """

    name: str
    parameters: list[nn.Parameter]
    rate: float = 1.0
    optimizer: OwnAdam | None = None
