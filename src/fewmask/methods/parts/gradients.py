"""How much of a gradient a loss term has, to be watched."""

import torch
from torch import Tensor

from fewmask.shapes import Features, Scalar


def gradient_share(term: Scalar, other: Scalar, features: Features) -> Scalar:
    """The norm of the gradient of `term` on the features, divided by that of `other`; both graphs stay as they are."""
    own, others = (_gradient_norm(loss, features) for loss in (term, other))
    return own / others.clamp(min=torch.finfo(torch.float32).tiny)


def _gradient_norm(loss: Scalar, features: Features) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, features, retain_graph=True)
    norm: Tensor = torch.linalg.vector_norm(gradient.float())
    return norm
