"""What a step does, operation by operation: whether it is static, so that a recording of it can be replayed.

The steps of a phase must do the same operations on tensors of the same shapes, with the same Python numbers, and none
may ask the device for a value.
"""

import inspect
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_ASKING = (
    "local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "bincount",
    "equal",
    "is_nonzero",
    "repeat_interleave",
)
"""Beginnings of the names of operations whose result, or the shape of it, the host has to wait for."""

_COPYING = ("lift_fresh",)
"""Beginnings of the names of operations by which numbers of Python become a tensor: on a GPU, a copy from the host."""

_PLAIN = int, float, bool, str, torch.dtype, torch.device, torch.layout, torch.memory_format
_CALLS = ("tolist", "numpy", "cpu", "__array__")
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


class _Layout(NamedTuple):
    """What a replay cannot change of a tensor."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype


class Operation(NamedTuple):
    """An operation with all that a replay cannot change: shapes and types of its tensors, and its Python values."""

    name: str
    arguments: tuple[object, ...]
    file: str
    line: int

    @property
    def place(self) -> str:
        """The line of code that asked for the operation, in words."""
        return f"at {Path(self.file).name}:{self.line}" if self.file else "in the backward pass"


class StepRecord(TorchDispatchMode):
    """Notes the operations of a step while it runs; `asked` holds those for which the host waits.

    It sees what C++ does on its own, such as reading an index that is a tensor without dimensions, but not inside of
    kernels.

    Args:
        own_file: a line of this file is named as the place of an operation, if one of them asked for it.
    """

    def __init__(self, own_file: str = "") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.asked: list[Operation] = []
        self._own_file = own_file
        self._python_calls = _PythonCalls(self)

    def __enter__(self) -> "StepRecord":
        self._python_calls.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._python_calls.__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace != "profiler":  # marks for profilers compute nothing
            operation = self.note(str(func), (*args, *sorted(kwargs.items())))
            name = func._schema.name.removeprefix("aten::").lstrip("_")
            if name.startswith((*_ASKING, *_COPYING)) or (name.startswith("index") and _by_mask(args)):
                self.asked.append(operation)
        return func(*args, **kwargs)

    def note(self, name: str, arguments: tuple[object, ...]) -> Operation:
        """Notes an operation with the place that asked for it."""
        operation = Operation(name, tuple(map(_fixed, arguments)), *_place(sys._getframe(1), self._own_file))
        self.operations.append(operation)
        return operation


class _PythonCalls(TorchFunctionMode):
    """Notes the calls that a tensor on the CPU answers without any operation."""

    def __init__(self, record: StepRecord) -> None:
        super().__init__()
        self._record = record

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _CALLS:
            self._record.asked.append(self._record.note(f"Tensor.{name}", ()))
        return func(*args, **(kwargs or {}))


def record(step: Callable[[], object], own_file: str = "") -> StepRecord:
    """Takes a step and returns what it did."""
    with StepRecord(own_file) as found:
        step()
    return found


def own_file(method: object) -> str:
    """The file in which the class of the method is; empty for a class that was typed in."""
    try:
        return inspect.getfile(type(method))
    except (TypeError, OSError):
        return ""


def why_not_static(one: StepRecord, other: StepRecord) -> str | None:
    """Why two steps of a phase are not one graph, as a sentence without its begin "the step"; None if they are."""
    for asked in (*one.asked, *other.asked):
        return f"waits for the device {asked.place} ({asked.name})"
    for before, after in zip(one.operations, other.operations, strict=False):
        if before.name != after.name:
            return f"branches on its data or its number {after.place}: first {before.name}, then {after.name}"
        if before.arguments != after.arguments:
            changed = [pair for pair in zip(before.arguments, after.arguments, strict=False) if pair[0] != pair[1]]
            first, then = changed[0] if changed else (before.arguments, after.arguments)
            return f"changes {after.place} ({after.name}): first {_shown(first)}, then {_shown(then)}"
    if len(one.operations) != len(other.operations):
        longer = max(one.operations, other.operations, key=len)
        extra = longer[min(len(one.operations), len(other.operations))]
        return f"branches on its data or its number {extra.place}: {extra.name} is not in every step"
    return None


def _fixed(value: object) -> object:
    """What of an argument a replay cannot change."""
    if isinstance(value, Tensor):
        return _Layout(value.shape, value.stride(), value.dtype)
    if isinstance(value, list | tuple):
        return tuple(map(_fixed, value))
    return value if value is None or isinstance(value, _PLAIN) else type(value).__name__


def _shown(value: object) -> str:
    if isinstance(value, _Layout):
        return f"a tensor of {list(value.shape)}, {value.dtype}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _by_mask(arguments: Any) -> bool:
    """Whether an operation is given a mask as an index, from which the shape of the result follows."""
    return any(
        isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
        for argument in arguments
        if isinstance(argument, list | tuple)
        for index in argument
    )


def _place(frame: FrameType | None, own_file: str) -> tuple[str, int]:
    """The innermost line of the own file on the stack, or else the innermost one outside of libraries."""
    outside: tuple[str, int] | None = None
    while frame is not None:
        file = frame.f_code.co_filename
        if file == own_file:
            return file, frame.f_lineno
        if outside is None and file != __file__ and not file.startswith((*_LIBRARIES, "<")):
            outside = file, frame.f_lineno
        frame = frame.f_back
    return outside or ("", 0)
