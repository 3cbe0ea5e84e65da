"""Checks what a file says of an optimizer before the optimizer takes it: a kernel trusts the shapes of its moments."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer


def fitting_state(optimizer: Optimizer, saved: Mapping[str, Any]) -> dict[str, Any]:
    """The saved state of an optimizer in the form in which the optimizer itself would hold it.

    Fused kernels write as many numbers into a moment as its parameter has, so a moment of another shape or with another
    layout in memory would be written beyond its end. Rates and other settings of groups come from the recipe.

    Raises:
        ValueError: a moment has another shape than its parameter, or the state is that of other parameters.
        Exception: nearly any other, for a state of another form.
    """
    own = optimizer.state_dict()["param_groups"]
    if [group["params"] for group in saved["param_groups"]] != [group["params"] for group in own]:
        raise ValueError("it is of another version of fewmask, which grouped the parameters in another way")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    expected = {"momentum_buffer"} if isinstance(optimizer, SGD) else {"step", "exp_avg", "exp_avg_sq"}
    moments = {
        number: {name: _fitting(name, value, parameters[number]) for name, value in _named(state, expected).items()}
        for number, state in saved["state"].items()
    }
    return {"state": moments, "param_groups": own}


def _named(state: dict[str, Any], expected: set[str]) -> dict[str, Any]:
    if state.keys() not in (expected, set()):  # empty: the parameter has had no gradient yet
        raise ValueError(f"the optimizer needs {', '.join(sorted(expected))}, and it holds {', '.join(sorted(state))}")
    return state


def _fitting(name: str, value: Any, parameter: Tensor) -> Tensor | None:
    """The value as a new tensor with the shape and the layout of the parameter; a count of steps is a scalar."""
    if value is None and name == "momentum_buffer":  # before the first gradient
        return None
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ValueError(f"{name} of the optimizer holds no floating-point numbers")
    if name == "step":
        if value.ndim:
            raise ValueError("the count of steps of the optimizer is no single number")
        return value.float()
    if value.shape != parameter.shape:
        raise ValueError(f"{name} of the optimizer has the shape {list(value.shape)}, not {list(parameter.shape)}")
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
