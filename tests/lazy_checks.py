"""Checks of shapes and types that are made at the first call of a function: a process calls few of those it loads."""

import functools
from collections.abc import Callable
from typing import Any

from beartype import beartype

Function = Callable[..., Any]


def checked(function: Function) -> Function:
    """The function, whose arguments and result are checked from its first call on."""
    made: list[Function] = []

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if not made:
            made.append(beartype(function))
        return made[0](*arguments, **named)

    return call
